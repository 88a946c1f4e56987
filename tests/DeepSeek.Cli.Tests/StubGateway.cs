using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Cli.Tests;

/// <summary>A gateway that knows one key and answers with what a test gives it.</summary>
internal sealed class StubGateway : IAsyncDisposable
{
    public const string Key = "dsk_known";
    private readonly WebApplication _app;

    private StubGateway(WebApplication app) => _app = app;

    public Uri Address => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    /// <summary>Status and JSON body by path.</summary>
    public ConcurrentDictionary<string, (int Status, string Body)> Answers { get; } = new();

    /// <summary>Authorization headers seen.</summary>
    public ConcurrentQueue<string> Keys { get; } = new();

    /// <summary>Request bodies seen.</summary>
    public ConcurrentQueue<string> Bodies { get; } = new();

    public static async Task<StubGateway> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var gateway = new StubGateway(builder.Build());
        gateway._app.Run(gateway.AnswerAsync);
        await gateway._app.StartAsync();
        return gateway;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task AnswerAsync(HttpContext http)
    {
        var authorization = http.Request.Headers.Authorization.ToString();
        Keys.Enqueue(authorization);
        Bodies.Enqueue(await new StreamReader(http.Request.Body).ReadToEndAsync());
        var (status, body) = authorization != $"Bearer {Key}"
            ? (401, """{"title":"Unauthorized","detail":"The API key is not known."}""")
            : Answers.GetValueOrDefault(http.Request.Path, (404, """{"title":"Not found","detail":"There is no such thing."}"""));
        http.Response.StatusCode = status;
        http.Response.ContentType = http.Request.Path.Value!.EndsWith("/events", StringComparison.Ordinal) ? "text/event-stream" : "application/json";
        await http.Response.WriteAsync(body);
    }
}
