using System.Collections.Concurrent;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Client.Tests;

/// <summary>A real HTTP server that answers each request with the next step of a script and remembers what it was asked.</summary>
public sealed class ScriptedGateway : StubServer
{
    private readonly ConcurrentQueue<Func<HttpContext, Task>> _script;

    private ScriptedGateway(Func<HttpContext, Task>[] script)
    {
        _script = new(script);
        Server.Run(AnswerAsync);
    }

    public ConcurrentQueue<Asked> Requests { get; } = new();

    public DeepSeekClient Client { get; private set; } = null!;

    public static async Task<ScriptedGateway> StartAsync(params Func<HttpContext, Task>[] script)
    {
        var gateway = await StartedAsync(new ScriptedGateway(script));
        gateway.Client = new DeepSeekClient(gateway.Address, "dsk_test");
        return gateway;
    }

    public static Func<HttpContext, Task> Json(object body, int status = 200) => http =>
    {
        http.Response.StatusCode = status;
        return http.Response.WriteAsJsonAsync(body);
    };

    public static Func<HttpContext, Task> Status(int status, string? retryAfter = null) => http =>
    {
        http.Response.StatusCode = status;
        if (retryAfter is not null)
            http.Response.Headers.RetryAfter = retryAfter;
        return http.Response.WriteAsJsonAsync(new { title = "Scripted", detail = $"scripted {status}", status });
    };

    public static Func<HttpContext, Task> Events(string text) => http =>
    {
        http.Response.ContentType = "text/event-stream";
        return http.Response.WriteAsync(text);
    };

    /// <summary>Ends the connection without a reply.</summary>
    public static Task Break(HttpContext http)
    {
        http.Abort();
        return Task.CompletedTask;
    }

    public override ValueTask DisposeAsync()
    {
        Client.Dispose();
        return base.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext http)
    {
        using var body = new MemoryStream();
        await http.Request.Body.CopyToAsync(body);
        Requests.Enqueue(new Asked(http.Request.Method, http.Request.Path + http.Request.QueryString,
            http.Request.Headers.ToDictionary(h => h.Key, h => h.Value.ToString(), StringComparer.OrdinalIgnoreCase), body.ToArray(), TimeProvider.System.GetTimestamp()));
        if (_script.TryDequeue(out var step))
            await step(http);
        else
            http.Response.StatusCode = StatusCodes.Status418ImATeapot;
    }
}

/// <summary>A request as it came.</summary>
public sealed record Asked(string Method, string Path, Dictionary<string, string> Headers, byte[] Body, long At)
{
    public string? Header(string name) => Headers.GetValueOrDefault(name);
}
