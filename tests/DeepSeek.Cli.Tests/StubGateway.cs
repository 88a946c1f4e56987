using System.Collections.Concurrent;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Cli.Tests;

/// <summary>A gateway that knows one key and answers with what a test gives it.</summary>
internal sealed class StubGateway : StubServer
{
    public const string Key = "dsk_known";

    private StubGateway() => Server.Run(AnswerAsync);

    /// <summary>Status and JSON body by path.</summary>
    public ConcurrentDictionary<string, (int Status, string Body)> Answers { get; } = new();

    /// <summary>Authorization headers seen.</summary>
    public ConcurrentQueue<string> Keys { get; } = new();

    /// <summary>Request bodies seen.</summary>
    public ConcurrentQueue<string> Bodies { get; } = new();

    public static Task<StubGateway> StartAsync() => StartedAsync(new StubGateway());

    private async Task AnswerAsync(HttpContext http)
    {
        var authorization = http.Request.Headers.Authorization.ToString();
        Keys.Enqueue(authorization);
        Bodies.Enqueue(await new StreamReader(http.Request.Body).ReadToEndAsync());
        var (status, body) = authorization != $"Bearer {Key}"
            ? (401, """{"title":"Unauthorized","detail":"The API key is not known."}""")
            : Answers.GetValueOrDefault(http.Request.Path, (404, """{"title":"Not found","detail":"There is no such thing."}"""));
        http.Response.StatusCode = status;
        http.Response.ContentType = body.StartsWith("data:", StringComparison.Ordinal) || http.Request.Path.Value!.EndsWith("/events", StringComparison.Ordinal) ? "text/event-stream" : "application/json";
        await http.Response.WriteAsync(body);
    }
}
