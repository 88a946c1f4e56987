using System.Collections.Concurrent;
using System.Security.Cryptography;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The other side of the two protocols this service speaks over HTTP: blobs into a folder, leases always granted.</summary>
public sealed class Peers : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly TestFolder _folder = new();

    private Peers(WebApplication app) => _app = app;

    public Uri Address => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    public string Blobs => _folder.Path;

    public ConcurrentQueue<EndLease> Ends { get; } = new();

    public ConcurrentQueue<Heartbeat> Beats { get; } = new();

    public JobDirective Directive { get; set; } = JobDirective.Continue;

    public static async Task<Peers> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseKestrel(k => k.Limits.MaxRequestBodySize = null).UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        var app = builder.Build();
        var peers = new Peers(app);
        app.MapPost("/api/v1/jobs/{id:guid}/lease", () => Results.Ok());
        app.MapPut("/api/v1/jobs/{id:guid}/lease/{lease:guid}", async (HttpRequest request) =>
        {
            peers.Beats.Enqueue((await request.ReadFromJsonAsync<Heartbeat>(PlatformJson.Options))!);
            return Results.Json(new HeartbeatReply { Directive = peers.Directive }, PlatformJson.Options);
        });
        app.MapPost("/api/v1/jobs/{id:guid}/lease/{lease:guid}/end", async (HttpRequest request) =>
        {
            peers.Ends.Enqueue((await request.ReadFromJsonAsync<EndLease>(PlatformJson.Options))!);
            return Results.Ok();
        });
        app.MapMethods("/api/v1/blobs/{sha256}", ["HEAD"], (string sha256) => File.Exists(peers.PathOf(sha256)) ? Results.Ok() : Results.NotFound());
        app.MapPut("/api/v1/blobs/{sha256}", async (string sha256, HttpRequest request) =>
        {
            var temporary = peers.PathOf(Guid.NewGuid().ToString("N"));
            await using (var file = File.Create(temporary))
            {
                await request.Body.CopyToAsync(file);
            }
            if (Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(temporary))) != sha256)
            {
                return Results.BadRequest();
            }
            File.Move(temporary, peers.PathOf(sha256), overwrite: true);
            return Results.Created();
        });
        await app.StartAsync();
        return peers;
    }

    public string PathOf(string sha256) => Path.Combine(Blobs, sha256);

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _folder.Dispose();
    }
}
