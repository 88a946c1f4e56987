using System.Buffers;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace DeepSeek.ServiceDefaults;

/// <summary>One download in as many requests as it takes: each goes on behind the last byte that is both on disk and in the hash.</summary>
internal sealed class BlobReceiver(string sha256, string path, TimeSpan stall) : IAsyncDisposable
{
    private const int BufferBytes = 128 * 1024;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly FileStream _file = BlobHash.Create(path);
    private long _received;

    /// <summary>Asks for what is missing; returns when the body has ended, throws when it broke.</summary>
    public async Task ReceiveAsync(HttpClient http, Uri uri, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, uri);
        if (_received > 0)
            request.Headers.Range = new RangeHeaderValue(_received, null);
        using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable && response.Content.Headers.ContentRange?.Length == _received)
            return; // the last try broke behind the last byte
        if (!await BlobReply.FoundAsync(response, cancellationToken))
            throw new BlobNotFoundException(sha256);
        if (response.StatusCode != HttpStatusCode.PartialContent)
            Restart();
        _file.Position = _received;
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        await AppendAsync(body, cancellationToken);
    }

    public void Verify()
    {
        _file.SetLength(_received);
        var found = Convert.ToHexStringLower(_hash.GetHashAndReset());
        if (found != sha256)
            throw new BlobCorruptException(sha256, found);
    }

    public async ValueTask DisposeAsync()
    {
        await _file.DisposeAsync();
        _hash.Dispose();
    }

    private void Restart()
    {
        _received = 0;
        _hash.GetHashAndReset();
    }

    private async Task AppendAsync(Stream body, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        using var watch = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            while (true)
            {
                watch.CancelAfter(stall);
                var read = await body.ReadAsync(buffer.AsMemory(0, BufferBytes), watch.Token);
                if (read == 0)
                    return;
                await _file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
                _hash.AppendData(buffer, 0, read);
                _received += read;
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"Blob {sha256}: no byte arrived for {stall.TotalSeconds:0} seconds.");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
