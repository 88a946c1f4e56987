using System.Reflection;
using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>Describes an application.</summary>
public interface IDistributedApplicationBuilder
{
    /// <summary>Settings: appsettings.json, user secrets, environment, command line.</summary>
    ConfigurationManager Configuration { get; }

    /// <summary>Directory of the AppHost's project; relative paths start here.</summary>
    string AppHostDirectory { get; }

    /// <summary>The assembly that describes the application.</summary>
    Assembly? AppHostAssembly { get; }

    /// <summary>Name and environment of the host.</summary>
    IHostEnvironment Environment { get; }

    /// <summary>Services of the host.</summary>
    IServiceCollection Services { get; }

    /// <summary>Tells what happens.</summary>
    IDistributedApplicationEventing Eventing { get; }

    /// <summary>Running or publishing.</summary>
    DistributedApplicationExecutionContext ExecutionContext { get; }

    /// <summary>All resources, in the order they were added.</summary>
    IResourceCollection Resources { get; }

    /// <summary>Adds a resource; its name must be new, whatever the case.</summary>
    IResourceBuilder<T> AddResource<T>(T resource) where T : IResource;

    /// <summary>Describes a resource without adding it.</summary>
    IResourceBuilder<T> CreateResourceBuilder<T>(T resource) where T : IResource;

    /// <summary>Completes the description.</summary>
    DistributedApplication Build();
}

/// <summary>Finds resources of an application.</summary>
public static class DistributedApplicationBuilderExtensions
{
    /// <summary>Describes a resource that was added before, by its name.</summary>
    public static IResourceBuilder<T> CreateResourceBuilder<T>(this IDistributedApplicationBuilder builder, string name) where T : IResource
        => builder.Resources.FirstOrDefault(resource => string.Equals(resource.Name, name, StringComparison.OrdinalIgnoreCase)) switch
        {
            T resource => builder.CreateResourceBuilder(resource),
            null => throw new InvalidOperationException($"Resource '{name}' was not found."),
            var other => throw new InvalidOperationException($"Resource '{name}' of type '{other.GetType()}' is not assignable to requested type '{typeof(T)}'."),
        };
}
