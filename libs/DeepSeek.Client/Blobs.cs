using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace DeepSeek.Client;

/// <summary>Stored bytes: their SHA-256, and how many they are.</summary>
public sealed record Blob(string Sha256, long Bytes, string MediaType);

/// <summary>Content-addressed bytes: <c>/api/v1/blobs</c>.</summary>
public sealed class BlobsClient
{
    private const int MaxAttempts = 6;
    private readonly ApiTransport _api;
    internal BlobsClient(ApiTransport api) => _api = api;

    /// <summary>Stores a file under its hash; bytes that the platform has are not sent.</summary>
    public async Task<Blob> UploadAsync(string path, string mediaType = "application/octet-stream", CancellationToken cancellationToken = default)
    {
        string sha256;
        await using (var file = File.OpenRead(path))
        {
            sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        }

        var address = $"api/v1/blobs/{sha256}";
        try
        {
            using var known = await _api.SendAsync(() => new HttpRequestMessage(HttpMethod.Head, address), cancellationToken);
            return new Blob(sha256, new FileInfo(path).Length, mediaType);
        }
        catch (DeepSeekApiException missing) when (missing.Status == HttpStatusCode.NotFound)
        {
            using var stored = await _api.SendAsync(
                () => new HttpRequestMessage(HttpMethod.Put, address)
                {
                    Content = new StreamContent(File.OpenRead(path)) { Headers = { ContentType = MediaTypeHeaderValue.Parse(mediaType) } },
                },
                cancellationToken);
            return new Blob(sha256, new FileInfo(path).Length, mediaType);
        }
    }

    /// <summary>Writes the blob to <paramref name="path"/>, which appears whole and checked, or not at all. A broken transfer goes on where it broke.</summary>
    /// <exception cref="InvalidDataException">The bytes received do not have the hash.</exception>
    public async Task DownloadAsync(string sha256, string path, CancellationToken cancellationToken = default)
    {
        var part = $"{path}.{Guid.NewGuid():N}.part";
        try
        {
            await using (var target = new FileStream(part, FileMode.CreateNew, FileAccess.ReadWrite))
            {
                for (var attempt = 1; !await ReceiveAsync(sha256, target, attempt < MaxAttempts, cancellationToken); attempt++)
                {
                    await Task.Delay(ApiTransport.Backoff(attempt), cancellationToken);
                }

                target.Position = 0;
                var found = Convert.ToHexStringLower(await SHA256.HashDataAsync(target, cancellationToken));
                if (found != sha256)
                {
                    throw new InvalidDataException($"The bytes received hash to {found}, not to {sha256}: they were damaged on the way. Download again.");
                }
            }

            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }

    /// <summary>Appends what is missing; false when the transfer broke and may be taken up again.</summary>
    private async Task<bool> ReceiveAsync(string sha256, FileStream target, bool mayBreak, CancellationToken cancellationToken)
    {
        try
        {
            using var response = await _api.SendAsync(
                () => new HttpRequestMessage(HttpMethod.Get, $"api/v1/blobs/{sha256}") { Headers = { Range = target.Length > 0 ? new RangeHeaderValue(target.Length, null) : null } },
                cancellationToken);
            if (response.StatusCode != HttpStatusCode.PartialContent)
            {
                target.SetLength(0);
            }

            target.Position = target.Length;
            await using var source = await response.Content.ReadAsStreamAsync(cancellationToken);
            await source.CopyToAsync(target, cancellationToken);
            return true;
        }
        catch (DeepSeekApiException end) when (end.Status == HttpStatusCode.RequestedRangeNotSatisfiable && target.Length > 0)
        {
            return true; // it broke behind the last byte
        }
        catch (IOException) when (mayBreak)
        {
            return false;
        }
    }
}
