using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Aspire.Hosting;

/// <summary>Serves the status page on loopback.</summary>
internal sealed partial class StatusServer(LocalHostSettings settings, DistributedApplicationOptions options, StatusApi api, ILogger<StatusServer> log)
{
    private WebApplication? _app;

    /// <summary>Where the page is; null until it is served.</summary>
    public string? Url => _app?.Urls.FirstOrDefault();

    /// <summary>What a page must send with a command; other sites' pages cannot read it.</summary>
    public string Token { get; } = RandomNumberGenerator.GetHexString(32, lowercase: true);

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var port = settings.RandomizePorts ? 0 : settings.StatusUrl.Port;
        try
        {
            _app = await StartAsync(port, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException) when (port != 0)
        {
            PortInUse(log, port);
            _app = await StartAsync(0, cancellationToken).ConfigureAwait(false);
        }
    }

    public async Task StopAsync()
    {
        if (_app is not null)
        {
            await _app.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<WebApplication> StartAsync(int port, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        builder.WebHost.UseSetting(WebHostDefaults.PreferHostingUrlsKey, "true");
        var app = builder.Build();
        app.Use(Guard);
        api.Map(app, options.DashboardApplicationName ?? "DeepSeek", Token);
        try
        {
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
            return app;
        }
        catch
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    // Only names of this machine: a foreign name that resolves to loopback would let its site read the page.
    private Task Guard(HttpContext context, RequestDelegate next)
    {
        var response = context.Response;
        if (context.Request.Host.Host is not ("localhost" or "127.0.0.1" or "[::1]"))
        {
            response.StatusCode = StatusCodes.Status421MisdirectedRequest;
            return Task.CompletedTask;
        }

        if (HttpMethods.IsPost(context.Request.Method) && !CryptographicOperations.FixedTimeEquals(
            System.Text.Encoding.ASCII.GetBytes(context.Request.Headers["X-Status-Token"].ToString()), System.Text.Encoding.ASCII.GetBytes(Token)))
        {
            response.StatusCode = StatusCodes.Status403Forbidden;
            return Task.CompletedTask;
        }

        response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers.CacheControl = "no-store";
        return next(context);
    }

    [LoggerMessage(LogLevel.Warning, "port {Port} is in use; the status page takes a free one")]
    private static partial void PortInUse(ILogger log, int port);
}
