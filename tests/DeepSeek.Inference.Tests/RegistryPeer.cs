using System.Collections.Concurrent;
using System.Security.Cryptography;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Inference.Tests;

/// <summary>The part of the registry's HTTP face that serving uses, on a loopback port: resolve, lineage, blobs.</summary>
internal sealed class RegistryPeer : StubServer
{
    private readonly ConcurrentDictionary<(string Model, int Version), Registered> _versions = new();
    private readonly ConcurrentDictionary<(string Model, string Alias), int> _aliases = new();
    private readonly ConcurrentDictionary<string, byte[]> _blobs = new();

    private RegistryPeer() => Map();

    /// <summary>While true every call is answered 503.</summary>
    public bool Down { get; set; }

    /// <summary>The next download of a blob waits for the task; further ones do not. One entry a download.</summary>
    public ConcurrentDictionary<string, Task> Held { get; } = new();

    public int Resolves => _resolves;

    private int _resolves;

    public static Task<RegistryPeer> StartAsync() => StartedAsync(new RegistryPeer());

    /// <summary>Registers the bytes as the model's next version.</summary>
    public Registered Add(string model, byte[] onnx)
    {
        var version = new Registered(
            Guid.CreateVersion7(), model, _versions.Keys.Count(k => k.Model == model) + 1, Convert.ToHexStringLower(SHA256.HashData(onnx)), onnx.Length);
        _blobs[version.Sha256] = onnx;
        _versions[(model, version.Version)] = version;
        return version;
    }

    public void Point(string model, string alias, int version) => _aliases[(model, alias)] = version;

    public void RemoveAlias(string model, string alias) => _aliases.TryRemove((model, alias), out _);

    public void Delete(string model, int version) => _versions.TryRemove((model, version), out _);

    /// <summary>The store loses the bytes, or has others under this hash.</summary>
    public void Replace(string sha256, byte[]? bytes)
    {
        if (bytes is null)
        {
            _blobs.TryRemove(sha256, out _);
        }
        else
        {
            _blobs[sha256] = bytes;
        }
    }

    private void Map()
    {
        Server.Use(async (http, next) =>
        {
            if (Down)
            {
                http.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
                return;
            }

            await next(http);
        });
        Server.MapGet("/api/v1/models/{model}/resolve", (string model, string @ref) =>
        {
            Interlocked.Increment(ref _resolves);
            var number = int.TryParse(@ref, out var n) ? n : _aliases.GetValueOrDefault((model, @ref));
            return _versions.TryGetValue((model, number), out var version) ? Results.Json(Document(version)) : Results.NotFound();
        });
        Server.MapGet("/api/v1/models/versions/{id:guid}/lineage", (Guid id) =>
            _versions.Values.FirstOrDefault(v => v.Id == id) is { } found
                ? Results.Json(new { chain = new object[] { new { kind = "version", id = found.Id }, new { kind = "dataset", sha256 = "ab" } } })
                : Results.NotFound());
        Server.MapMethods("/api/v1/blobs/{sha}", ["GET", "HEAD"], async (string sha) =>
        {
            if (Held.TryRemove(sha, out var release))
            {
                await release;
            }

            return _blobs.TryGetValue(sha, out var bytes) ? Results.Bytes(bytes, enableRangeProcessing: true) : Results.NotFound();
        });
    }

    private static object Document(Registered v) => new
    {
        id = v.Id,
        modelName = v.Model,
        version = v.Version,
        artifacts = new[] { new { name = "model.onnx", sha256 = v.Sha256, bytes = v.Bytes, mediaType = "application/octet-stream" } },
    };
}

internal sealed record Registered(Guid Id, string Model, int Version, string Sha256, long Bytes);
