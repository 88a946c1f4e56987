using Microsoft.Extensions.Configuration;

namespace Aspire.Hosting;

/// <summary>Settings of this host, read from configuration.</summary>
internal sealed class LocalHostSettings(IConfiguration configuration)
{
    private const string DefaultStatusUrl = "http://localhost:15080";

    /// <summary><c>DcpPublisher:RandomizePorts</c>: takes free ports in place of fixed ones, so that several hosts can run at once.</summary>
    public bool RandomizePorts { get; } = configuration.GetValue("DcpPublisher:RandomizePorts", false);

    /// <summary><c>LocalHost:RestartCrashed</c> (true): starts a process that ended with an error again.</summary>
    public bool RestartCrashed { get; } = configuration.GetValue("LocalHost:RestartCrashed", true);

    /// <summary><c>LocalHost:StatusUrl</c>: where the status page is; else the first http URL of ASPNETCORE_URLS (the AppHost's launch profile), else port 15080.</summary>
    public Uri StatusUrl { get; } = new(configuration["LocalHost:StatusUrl"]
        ?? configuration["ASPNETCORE_URLS"]?.Split(';').FirstOrDefault(url => url.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
        ?? DefaultStatusUrl);

    /// <summary>Time a process has between being asked to stop and being killed.</summary>
    public TimeSpan StopTimeout { get; } = TimeSpan.FromSeconds(configuration.GetValue("LocalHost:StopTimeoutSeconds", 6.0));
}
