namespace Aspire.Hosting;

/// <summary>A server that this host runs as a process where a deployment runs a container.</summary>
internal interface ILocalServer
{
    /// <summary>Prepares its data and says how to start it. Called before each start.</summary>
    Task<ProcessSpec> PrepareAsync(ProcessLauncher launcher, CancellationToken cancellationToken);
}

/// <summary>Says how a container resource runs as a process.</summary>
internal sealed record LocalServerAnnotation(Func<IServiceProvider, ILocalServer> Create) : IResourceAnnotation;

/// <summary>Finds the programs of servers.</summary>
internal static class ServerPrograms
{
    private static readonly string[] SystemFolders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

    /// <summary>Path of a program in PATH or the system's folders; null if it is not installed.</summary>
    public static string? Find(string name)
    {
        if (name.Contains('/', StringComparison.Ordinal))
        {
            return File.Exists(name) ? name : null;
        }

        return (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Concat(SystemFolders).Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }

    public static DistributedApplicationException Missing(string program, string package)
        => new($"{program} is not installed. On Debian or Ubuntu: sudo apt-get install {package}");
}
