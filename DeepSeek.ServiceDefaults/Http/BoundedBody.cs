using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>
/// Keeps the limit of a request's body in place of the server, under the server's own feature. The server resets the connection of whoever
/// sends more than its limit, and with it the refusal that is still under way; a body that it has no limit for it reads on for some seconds after
/// the reply, so that the sender comes to read it.
/// </summary>
internal sealed class BoundedBody(Stream body, long? length, long limit) : Stream, IHttpMaxRequestBodySizeFeature
{
    private long _read;

    public bool IsReadOnly { get; private set; }

    public long? MaxRequestBodySize { get; set; } = limit;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        IsReadOnly = true;
        Check(length ?? 0);
        var count = await body.ReadAsync(buffer, cancellationToken);
        _read += count;
        Check(_read);
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Bodies are read asynchronously.");
    public override void Flush() => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private void Check(long bytes)
    {
        if (bytes > MaxRequestBodySize)
        {
            throw new BadHttpRequestException("Request body too large.", StatusCodes.Status413PayloadTooLarge);
        }
    }
}

internal static class BoundedBodyExtensions
{
    public static void UseBoundedBodies(this IApplicationBuilder app) => app.Use((http, next) =>
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false, MaxRequestBodySize: { } limit } server
            && http.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true })
        {
            var bounded = new BoundedBody(http.Request.Body, http.Request.ContentLength, limit);
            server.MaxRequestBodySize = null;
            http.Features.Set<IHttpMaxRequestBodySizeFeature>(bounded);
            http.Request.Body = bounded;
        }

        return next(http);
    });
}
