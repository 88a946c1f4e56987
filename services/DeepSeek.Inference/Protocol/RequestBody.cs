using System.Buffers;
using System.IO.Compression;

namespace DeepSeek.Inference.Protocol;

/// <summary>A whole request body in pooled memory, decompressed, never larger than the limit.</summary>
internal sealed class RequestBody : IDisposable
{
    private const int FirstBuffer = 4096;

    private byte[] _buffer;
    private int _length;

    private RequestBody(byte[] buffer) => _buffer = buffer;

    public ReadOnlyMemory<byte> Memory => _buffer.AsMemory(0, _length);

    /// <exception cref="InferenceException">413: larger than the limit. 415: an encoding we do not know. 400: broken compression.</exception>
    public static async Task<RequestBody> ReadAsync(HttpContext http, int limit, CancellationToken cancellationToken)
    {
        if (http.Features.Get<Microsoft.AspNetCore.Http.Features.IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } feature)
        {
            feature.MaxRequestBodySize = limit;
        }

        var encoding = http.Request.Headers.ContentEncoding.ToString();
        if (encoding is "" or "identity" && http.Request.ContentLength > limit)
        {
            throw TooLarge(limit);
        }

        await using var source = Decompress(http.Request.Body, encoding);
        var expected = source == http.Request.Body ? http.Request.ContentLength ?? FirstBuffer : FirstBuffer;
        var body = new RequestBody(ArrayPool<byte>.Shared.Rent((int)Math.Clamp(expected + 1, FirstBuffer, 1 << 20)));
        try
        {
            await body.FillAsync(source, limit, cancellationToken);
            return body;
        }
        catch (InvalidDataException fault)
        {
            body.Dispose();
            throw InferenceException.BadRequest($"The body is not valid {encoding}: {fault.Message}");
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        var buffer = _buffer;
        _buffer = [];
        _length = 0;
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task FillAsync(Stream source, int limit, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (_length == _buffer.Length)
            {
                Grow();
            }

            var read = await source.ReadAsync(_buffer.AsMemory(_length), cancellationToken);
            if (read == 0)
            {
                return;
            }

            _length += read;
            if (_length > limit)
            {
                throw TooLarge(limit);
            }
        }
    }

    private void Grow()
    {
        var larger = ArrayPool<byte>.Shared.Rent(_buffer.Length * 2);
        _buffer.AsSpan(0, _length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }

    private static Stream Decompress(Stream body, string encoding) => encoding switch
    {
        "" or "identity" => body,
        "gzip" => new GZipStream(body, CompressionMode.Decompress, leaveOpen: true),
        // HTTP's deflate is zlib's format.
        "deflate" => new ZLibStream(body, CompressionMode.Decompress, leaveOpen: true),
        _ => throw new InferenceException(
            StatusCodes.Status415UnsupportedMediaType, $"Content-Encoding {JsonText.Shorten(encoding)} is not known; send gzip, deflate or none."),
    };

    private static InferenceException TooLarge(int limit) => new(
        StatusCodes.Status413PayloadTooLarge, $"The body is larger than {limit} bytes; send fewer rows at a time.");
}
