using System.Net;
using System.Net.Http.Headers;

namespace DeepSeek.ServiceDefaults;

/// <summary>A file as a request body that can be sent more than once.</summary>
internal sealed class FileContent : HttpContent
{
    private readonly string _path;
    private readonly long _length;

    public FileContent(string path, string mediaType)
    {
        _path = path;
        _length = new FileInfo(path).Length;
        Headers.ContentType = MediaTypeHeaderValue.Parse(mediaType);
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        await using var file = BlobHash.Open(_path);
        await file.CopyToAsync(stream, cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _length;
        return true;
    }
}
