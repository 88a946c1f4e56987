using System.Collections.Concurrent;
using System.Security.Cryptography;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The other side of the two protocols this service speaks over HTTP: blobs into a folder, leases always granted.</summary>
public sealed class Peers : StubServer
{
    private readonly TestFolder _folder = new();

    private Peers() => Map();

    public string Blobs => _folder.Path;

    public ConcurrentQueue<EndLease> Ends { get; } = new();

    public ConcurrentQueue<Heartbeat> Beats { get; } = new();

    /// <summary>While set, no upload of a blob begins.</summary>
    public TaskCompletionSource? Gate { get; set; }

    /// <summary>Uploads of blobs that have come, those at the gate included.</summary>
    public int Uploads => Volatile.Read(ref _uploads);

    private int _uploads;

    public JobDirective Directive { get; set; } = JobDirective.Continue;

    public static Task<Peers> StartAsync() => StartedAsync(new Peers());

    public string PathOf(string sha256) => Path.Combine(Blobs, sha256);

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        _folder.Dispose();
    }

    private void Map()
    {
        Server.MapPost("/api/v1/jobs/{id:guid}/lease", () => Results.Ok());
        Server.MapPut("/api/v1/jobs/{id:guid}/lease/{lease:guid}", async (HttpRequest request) =>
        {
            Beats.Enqueue((await request.ReadFromJsonAsync<Heartbeat>(PlatformJson.Options))!);
            return Results.Json(new HeartbeatReply { Directive = Directive }, PlatformJson.Options);
        });
        Server.MapPost("/api/v1/jobs/{id:guid}/lease/{lease:guid}/end", async (HttpRequest request) =>
        {
            Ends.Enqueue((await request.ReadFromJsonAsync<EndLease>(PlatformJson.Options))!);
            return Results.Ok();
        });
        Server.MapMethods("/api/v1/blobs/{sha256}", ["HEAD"], (string sha256) => File.Exists(PathOf(sha256)) ? Results.Ok() : Results.NotFound());
        Server.MapPut("/api/v1/blobs/{sha256}", async (string sha256, HttpRequest request) =>
        {
            Interlocked.Increment(ref _uploads);
            await (Gate?.Task ?? Task.CompletedTask).WaitAsync(request.HttpContext.RequestAborted);
            var temporary = PathOf(Guid.NewGuid().ToString("N"));
            await using (var file = File.Create(temporary))
            {
                await request.Body.CopyToAsync(file);
            }
            if (Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(temporary))) != sha256)
            {
                return Results.BadRequest();
            }
            File.Move(temporary, PathOf(sha256), overwrite: true);
            return Results.Created();
        });
    }
}
