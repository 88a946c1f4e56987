namespace Aspire.Hosting.ApplicationModel
{
    /// <summary>A .NET project that runs as one or more processes.</summary>
    public class ProjectResource(string name) : Resource(name), IResourceWithEnvironment, IResourceWithArgs, IResourceWithServiceDiscovery, IResourceWithWaitSupport, IResourceWithProbes, IComputeResource, IContainerFilesDestinationResource
    {
        // A deployment chooses the ports of the endpoints that every web project has.
        internal EndpointAnnotation? DefaultHttpEndpoint { get; set; }

        internal EndpointAnnotation? DefaultHttpsEndpoint { get; set; }
    }
}

namespace Aspire.Hosting
{
    /// <summary>Has endpoints that others find by its name.</summary>
    public interface IResourceWithServiceDiscovery : IResourceWithEndpoints;

    /// <summary>Where a project is.</summary>
    public interface IProjectMetadata : IResourceAnnotation
    {
        /// <summary>Absolute path of the project file.</summary>
        string ProjectPath { get; }

        /// <summary>Its launch settings; null: read from Properties/launchSettings.json.</summary>
        LaunchSettings? LaunchSettings => null;

        /// <summary>Whether it is built already when the application starts.</summary>
        bool SuppressBuild => false;

        /// <summary>Whether it is a single source file.</summary>
        bool IsFileBasedApp => false;
    }

    /// <summary>How a project is added.</summary>
    public class ProjectResourceOptions
    {
        /// <summary>The launch profile to take; null: chosen by the rules.</summary>
        public string? LaunchProfileName { get; set; }

        /// <summary>Takes no launch profile.</summary>
        public bool ExcludeLaunchProfile { get; set; }

        /// <summary>Takes no endpoints from the project's Kestrel settings. This host reads none.</summary>
        public bool ExcludeKestrelEndpoints { get; set; }
    }

    /// <summary>Contents of launchSettings.json.</summary>
    public sealed class LaunchSettings
    {
        /// <summary>Profiles by name, in the file's order.</summary>
        public Dictionary<string, LaunchProfile> Profiles { get; set; } = [];
    }

    /// <summary>One profile of launchSettings.json.</summary>
    public sealed class LaunchProfile
    {
        /// <summary>Project, Executable or IISExpress.</summary>
        public string? CommandName { get; set; }

        /// <summary>Arguments of the process.</summary>
        public string? CommandLineArgs { get; set; }

        /// <summary>Whether <c>dotnet run</c> says where it runs.</summary>
        public bool? DotnetRunMessages { get; set; }

        /// <summary>Whether a browser is opened.</summary>
        public bool? LaunchBrowser { get; set; }

        /// <summary>What the browser opens.</summary>
        public string? LaunchUrl { get; set; }

        /// <summary>URLs, separated by semicolons.</summary>
        public string? ApplicationUrl { get; set; }

        /// <summary>Environment of the process.</summary>
        public Dictionary<string, string> EnvironmentVariables { get; set; } = [];
    }
}
