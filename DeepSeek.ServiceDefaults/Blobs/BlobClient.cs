using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults;

/// <summary>
/// The registry's blob store as a service sees it. Every transfer is tried again after a fault of the network or of the registry
/// (a restart of it loses nothing), and every byte is checked against its hash.
/// </summary>
public sealed class BlobClient(IHttpClientFactory http, BlobCache cache, IOptions<BlobStoreOptions> options, TimeProvider clock)
{
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(10);
    private readonly BlobStoreOptions _options = options.Value;

    /// <summary>Stores the bytes to the end of the stream; they also stay in the local cache. Bytes that the store has are not sent.</summary>
    public async Task<BlobRef> UploadAsync(Stream content, string mediaType = BlobRef.DefaultMediaType, CancellationToken cancellationToken = default)
    {
        var temporary = cache.NewTemporary();
        try
        {
            BlobRef blob;
            await using (var file = BlobHash.Create(temporary))
            {
                var (sha256, bytes) = await BlobHash.CopyAsync(content, file, cancellationToken);
                blob = new BlobRef(sha256, bytes, mediaType);
            }

            await SendAsync(temporary, blob, cancellationToken);
            cache.Adopt(temporary, blob.Sha256);
            return blob;
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Stores the bytes of a file, which must not change meanwhile.</summary>
    public async Task<BlobRef> UploadAsync(string path, string mediaType = BlobRef.DefaultMediaType, CancellationToken cancellationToken = default)
    {
        var blob = new BlobRef(await BlobHash.OfFileAsync(path, cancellationToken), new FileInfo(path).Length, mediaType);
        await SendAsync(path, blob, cancellationToken);
        return blob;
    }

    /// <summary>Stores bytes held in memory.</summary>
    public async Task<BlobRef> UploadAsync(byte[] content, string mediaType = BlobRef.DefaultMediaType, CancellationToken cancellationToken = default)
    {
        using var stream = new MemoryStream(content, writable: false);
        return await UploadAsync(stream, mediaType, cancellationToken);
    }

    /// <summary>Path of a verified file in the local cache. Read it now: an unused file is evicted when the cache is full.</summary>
    /// <exception cref="BlobNotFoundException">The store has no such blob.</exception>
    public Task<string> FetchAsync(string sha256, CancellationToken cancellationToken = default) =>
        cache.GetAsync(Checked(sha256), (path, ct) => ReceiveAsync(sha256, path, ct), cancellationToken);

    /// <summary>The verified bytes. The stream stays readable when the cache evicts the file.</summary>
    /// <exception cref="BlobNotFoundException">The store has no such blob.</exception>
    public async Task<Stream> OpenAsync(string sha256, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            var path = await FetchAsync(sha256, cancellationToken);
            try
            {
                return BlobHash.Open(path);
            }
            catch (FileNotFoundException)
            {
                // Evicted by another process between the two lines: fetch again.
            }
        }
    }

    /// <summary>All of the verified bytes; for small blobs such as manifests.</summary>
    public async Task<byte[]> ReadAsync(string sha256, CancellationToken cancellationToken = default)
    {
        await using var stream = await OpenAsync(sha256, cancellationToken);
        var bytes = new byte[stream.Length];
        await stream.ReadExactlyAsync(bytes, cancellationToken);
        return bytes;
    }

    /// <summary>Writes the verified bytes to <paramref name="path"/>, which appears whole or not at all.</summary>
    /// <exception cref="BlobNotFoundException">The store has no such blob.</exception>
    public async Task DownloadAsync(string sha256, string path, CancellationToken cancellationToken = default)
    {
        var temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            await using (var source = await OpenAsync(sha256, cancellationToken))
            await using (var target = BlobHash.Create(temporary))
                await source.CopyToAsync(target, cancellationToken);
            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Whether the store has the blob; asking also renews the grace for which an unreferenced blob is kept.</summary>
    public Task<bool> ExistsAsync(string sha256, CancellationToken cancellationToken = default) =>
        TryAsync(async () =>
        {
            using var request = new HttpRequestMessage(HttpMethod.Head, UriOf(Checked(sha256)));
            using var response = await Client().SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            return await BlobReply.FoundAsync(response, cancellationToken);
        }, cancellationToken);

    private async Task SendAsync(string path, BlobRef blob, CancellationToken cancellationToken)
    {
        if (await ExistsAsync(blob.Sha256, cancellationToken))
            return;
        await TryAsync(async () =>
        {
            using var request = new HttpRequestMessage(HttpMethod.Put, UriOf(blob.Sha256)) { Content = new FileContent(path, blob.MediaType) };
            using var response = await Client().SendAsync(request, cancellationToken);
            return await BlobReply.FoundAsync(response, cancellationToken) ? true : throw new BlobNotFoundException(blob.Sha256);
        }, cancellationToken);
    }

    private async Task ReceiveAsync(string sha256, string path, CancellationToken cancellationToken)
    {
        await using var receiver = new BlobReceiver(sha256, path, _options.StallTimeout);
        await TryAsync(async () =>
        {
            await receiver.ReceiveAsync(Client(), UriOf(sha256), cancellationToken);
            return true;
        }, cancellationToken);
        receiver.Verify();
    }

    private async Task<T> TryAsync<T>(Func<Task<T>> send, CancellationToken cancellationToken)
    {
        var wait = _options.FirstBackoff;
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await send();
            }
            catch (Exception fault) when (attempt < _options.Attempts && BlobReply.IsTransient(fault) && !cancellationToken.IsCancellationRequested)
            {
                var jitter = 0.5 + Random.Shared.NextDouble();
                await Task.Delay(wait * jitter, clock, cancellationToken);
                wait = wait * 2 > LongestBackoff ? LongestBackoff : wait * 2;
            }
        }
    }

    private HttpClient Client() => http.CreateClient(BlobTransport.Name);

    private static string Checked(string sha256) =>
        BlobRef.IsSha256(sha256) ? sha256 : throw new ArgumentException($"'{sha256}' is not a SHA-256 in 64 lower-case hexadecimal digits.", nameof(sha256));

    private static Uri UriOf(string sha256) => new($"api/v1/blobs/{sha256}", UriKind.Relative);
}
