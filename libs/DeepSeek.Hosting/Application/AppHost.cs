using System.Reflection;

namespace Aspire.Hosting;

/// <summary>What the AppHost's build wrote into its assembly.</summary>
internal static class AppHost
{
    public static Assembly? FindAssembly(DistributedApplicationOptions options)
    {
        if (options.AssemblyName is null)
        {
            return Assembly.GetEntryAssembly();
        }

        try
        {
            return Assembly.Load(options.AssemblyName);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    public static string? ProjectDirectory(Assembly? assembly) => Metadata(assembly, "apphostprojectpath");

    /// <summary>Configuration the AppHost was built in; its projects are taken from the same.</summary>
    public static string BuildConfiguration(Assembly? assembly)
        => assembly?.GetCustomAttribute<AssemblyConfigurationAttribute>()?.Configuration is { Length: > 0 } configuration ? configuration : "Debug";

    private static string? Metadata(Assembly? assembly, string key)
        => assembly?.GetCustomAttributes<AssemblyMetadataAttribute>().FirstOrDefault(attribute => attribute.Key == key)?.Value;
}
