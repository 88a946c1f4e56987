using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Testing;

/// <summary>A real web server on a free loopback port that answers what a test tells it to: silent, and with no limit to what it is sent.</summary>
public class StubServer : IAsyncDisposable
{
    protected StubServer()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = null).UseUrls("http://127.0.0.1:0");
        Server = builder.Build();
    }

    /// <summary>Where it listens, once it has started.</summary>
    public Uri Address => new(Server.Urls.First());

    /// <summary>What the stub maps its answers on.</summary>
    protected WebApplication Server { get; }

    /// <summary>A server with nothing but these answers.</summary>
    public static Task<StubServer> StartAsync(Action<WebApplication> map)
    {
        var stub = new StubServer();
        map(stub.Server);
        return StartedAsync(stub);
    }

    public Task ListenAsync() => Server.StartAsync();

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return Server.DisposeAsync();
    }

    /// <summary>The stub when it listens.</summary>
    protected static async Task<T> StartedAsync<T>(T stub) where T : StubServer
    {
        await stub.ListenAsync();
        return stub;
    }
}
