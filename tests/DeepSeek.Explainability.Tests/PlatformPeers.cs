using System.Collections.Concurrent;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Data;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Explainability.Tests;

/// <summary>The borders this service sees of its peers, on one loopback port: the registry's versions and blobs, a deployment, and leases that are always granted.</summary>
internal sealed class PlatformPeers : StubServer
{
    private readonly ConcurrentDictionary<string, byte[]> _blobs = new();

    private PlatformPeers() => Map();

    /// <summary>By model, the answer to <c>…/models/MODEL/resolve?ref=1</c>.</summary>
    public ConcurrentDictionary<string, object> Versions { get; } = new();

    /// <summary>What heartbeats are answered with.</summary>
    public JobDirective Directive { get; set; } = JobDirective.Continue;

    public static Task<PlatformPeers> StartAsync() => StartedAsync(new PlatformPeers());

    public string Add(byte[] bytes)
    {
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes));
        _blobs[sha256] = bytes;
        return sha256;
    }

    /// <summary>A split's sample of these JSON lines.</summary>
    public DatasetSample AddSample(string lines, int rows)
    {
        var gzip = new MemoryStream();
        using (var stream = new GZipStream(gzip, CompressionLevel.Fastest))
        {
            stream.Write(Encoding.UTF8.GetBytes(lines));
        }

        return new DatasetSample(Add(gzip.ToArray()), gzip.ToArray().Length, rows);
    }

    private void Map()
    {
        Server.MapMethods("/api/v1/blobs/{sha}", ["GET", "HEAD"], (string sha) =>
            _blobs.TryGetValue(sha, out var bytes) ? Results.Bytes(bytes, enableRangeProcessing: true) : Results.NotFound());
        Server.MapGet("/api/v1/models/{model}/resolve", (string model, string @ref) =>
            @ref is "1" or "production" && Versions.TryGetValue(model, out var version) ? Results.Json(version) : Results.NotFound());
        Server.MapGet("/api/v1/deployments/{name}", (string name) =>
            name == "live" ? Results.Json(new { name, model = "scores", @ref = "production", versions = Array.Empty<object>() }) : Results.NotFound());
        Server.MapPost("/api/v1/jobs/{id:guid}/lease", () => Results.Ok());
        Server.MapPut("/api/v1/jobs/{id:guid}/lease/{lease:guid}", () => Results.Json(new { directive = Directive.ToString().ToLowerInvariant() }));
        Server.MapPost("/api/v1/jobs/{id:guid}/lease/{lease:guid}/end", () => Results.Ok());
    }
}
