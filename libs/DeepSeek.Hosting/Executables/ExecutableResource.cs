namespace Aspire.Hosting.ApplicationModel
{
    /// <summary>A program that runs as a process.</summary>
    public class ExecutableResource(string name, string command, string workingDirectory) : Resource(name), IResourceWithEnvironment, IResourceWithArgs, IResourceWithEndpoints, IResourceWithWaitSupport, IResourceWithProbes, IComputeResource
    {
        /// <summary>The program: a path, or a name that is looked up in PATH.</summary>
        public string Command { get; internal set; } = command;

        /// <summary>Absolute path of the directory it runs in.</summary>
        public string WorkingDirectory { get; } = workingDirectory;
    }
}

namespace Aspire.Hosting
{
    /// <summary>Adds programs.</summary>
    public static class ExecutableResourceBuilderExtensions
    {
        /// <summary>Adds a program; <paramref name="workingDirectory"/> is relative to the AppHost.</summary>
        public static IResourceBuilder<ExecutableResource> AddExecutable(this IDistributedApplicationBuilder builder, string name, string command, string workingDirectory, params string[]? args)
            => builder.AddExecutable(name, command, workingDirectory, (object[]?)args);

        /// <summary>Adds a program; arguments are text or values of resources.</summary>
        public static IResourceBuilder<ExecutableResource> AddExecutable(this IDistributedApplicationBuilder builder, string name, string command, string workingDirectory, params object[]? args)
        {
            var executable = builder.AddResource(new ExecutableResource(name, command, Path.GetFullPath(workingDirectory, builder.AppHostDirectory)));
            return args is { Length: > 0 } ? executable.WithArgs(args) : executable;
        }

        /// <summary>Changes the program.</summary>
        public static IResourceBuilder<T> WithCommand<T>(this IResourceBuilder<T> builder, string command) where T : ExecutableResource
        {
            builder.Resource.Command = command;
            return builder;
        }
    }
}
