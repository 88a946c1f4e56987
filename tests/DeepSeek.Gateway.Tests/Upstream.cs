using System.Collections.Concurrent;
using System.Security.Cryptography;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.Gateway.Tests;

/// <summary>A service behind the gateway that tells what reached it.</summary>
public sealed class Upstream : StubServer
{
    private int _calls;
    private int _flaky;

    public Upstream()
    {
        Server.MapGet("/openapi/v1.json", () => Results.Text(OpenApi, "application/json"));
        Server.MapGet("/api/v1/jobs/{id}/events", EventsAsync);
        Server.MapPost("/api/v1/deployments/{name}/generate", EventsAsync);
        Server.MapGet("/api/v1/jobs/hang", (HttpContext http) => Task.Delay(Timeout.Infinite, http.RequestAborted));
        Server.MapGet("/api/v1/jobs/break", (HttpContext http) => http.Abort());
        Server.MapGet("/api/v1/jobs/refuse", () => Results.Problem("no such job", statusCode: 404));
        Server.MapPost("/api/v1/runs", async (HttpContext http) =>
        {
            var call = await SeeAsync(http);
            await (Gate?.Task ?? Task.CompletedTask);
            http.Response.Headers.Location = $"/api/v1/runs/{call}";
            http.Response.Headers.ETag = "\"1\"";
            return Results.Json(new { run = call }, statusCode: 202);
        });
        // The second parameter keeps these from being RequestDelegates, whose result nobody writes.
        Server.MapPost("/api/v1/runs/flaky", async (HttpContext http, CancellationToken _) => Results.Json(new { call = await SeeAsync(http) }, statusCode: Interlocked.Increment(ref _flaky) == 1 ? 503 : 201));
        Server.MapPost("/api/v1/runs/large", async (HttpContext http, CancellationToken _) => Results.Text($"{await SeeAsync(http)}" + new string('x', 2 << 20)));
        Server.MapFallback(async (HttpContext http, CancellationToken _) => Results.Json(new { call = await SeeAsync(http) }));
    }

    public ConcurrentQueue<RequestSeen> Seen { get; } = new();
    /// <summary>While set, POST /api/v1/runs waits for it.</summary>
    public TaskCompletionSource? Gate { get; set; }
    /// <summary>Signals that the events' reader has the first one.</summary>
    public TaskCompletionSource FirstEventRead { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    public string OpenApi { get; set; } = """
        {"openapi":"3.1.1","info":{"title":"t","version":"v1"},"paths":{"/api/v1/things":{"get":{"operationId":"List","responses":{"200":{"description":"OK"}}}}}}
        """;

    public RequestSeen Last => Seen.Last();

    /// <summary>Signals that the events' reader has left.</summary>
    public TaskCompletionSource Left { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private async Task EventsAsync(HttpContext http)
    {
        http.RequestAborted.Register(() => Left.TrySetResult());
        http.Response.ContentType = "text/event-stream";
        await http.Response.WriteAsync("event: progress\ndata: 1\n\n");
        await http.Response.Body.FlushAsync();
        await FirstEventRead.Task.WaitAsync(http.RequestAborted);
        await http.Response.WriteAsync("event: state\ndata: 2\n\n");
    }

    private async Task<int> SeeAsync(HttpContext http)
    {
        long bytes = 0;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[64 << 10];
        for (int read; (read = await http.Request.Body.ReadAsync(buffer, http.RequestAborted)) > 0; bytes += read)
        {
            hash.AppendData(buffer, 0, read);
        }

        Seen.Enqueue(new RequestSeen(
            http.Request.Method, http.Request.Path + http.Request.QueryString,
            http.Request.Headers.ToDictionary(header => header.Key, header => header.Value.ToString(), StringComparer.OrdinalIgnoreCase),
            bytes, TestIdentity.Tokens.Validate(http.Request.Headers[IdentityTokens.Header])));
        return Interlocked.Increment(ref _calls);
    }
}

public sealed record RequestSeen(string Method, string Target, Dictionary<string, string> Headers, long Bytes, PlatformIdentity? Identity);
