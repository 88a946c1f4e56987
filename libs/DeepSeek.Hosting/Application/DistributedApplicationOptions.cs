namespace Aspire.Hosting;

/// <summary>How an application is built.</summary>
public sealed class DistributedApplicationOptions
{
    /// <summary>Command line arguments.</summary>
    public string[]? Args { get; set; }

    /// <summary>Name of the assembly that describes the application; null: the entry assembly.</summary>
    public string? AssemblyName { get; set; }

    /// <summary>Directory of the AppHost's project; null: as the assembly says.</summary>
    public string? ProjectDirectory { get; set; }

    /// <summary>Runs no status page; dependents of a failed resource fail as well.</summary>
    public bool DisableDashboard { get; set; }

    /// <summary>Name the status page shows; null: the AppHost's.</summary>
    public string? DashboardApplicationName { get; set; }

    /// <summary>Writes the resources' logs to the console even without a status page.</summary>
    public bool EnableResourceLogging { get; set; }

    /// <summary>Registry of all container images.</summary>
    public string? ContainerRegistryOverride { get; set; }

    /// <summary>Aspire asks for it before its dashboard speaks plain HTTP; the status page is on loopback only.</summary>
    public bool AllowUnsecuredTransport { get; set; }

    /// <summary>Whether services trust the developer's certificate. This host ends no TLS.</summary>
    public bool? TrustDeveloperCertificate { get; set; }
}
