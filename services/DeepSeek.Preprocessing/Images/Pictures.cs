namespace DeepSeek.Preprocessing.Images;

/// <param name="Width">Of the upright picture, in pixels.</param>
/// <param name="Height">Of the upright picture, in pixels.</param>
/// <param name="Channels">1 for grey, 3 for colour.</param>
/// <param name="Orientation">How the file stores it, 1 to 8 (<see cref="ExifOrientation"/>).</param>
internal sealed record PictureHeader(int Width, int Height, int Channels, int Orientation = ExifOrientation.Upright);

/// <summary>Pictures in a format that its first bytes tell: PNG or JPEG.</summary>
internal static class Pictures
{
    /// <summary>Most pixels a side of a picture may have: bounds what decoding takes, whatever a small file announces.</summary>
    public const int MaxSide = 4096;

    private const int PngHeaderBytes = 33;

    public static bool IsNamed(string name) => Path.GetExtension(name).ToLowerInvariant() is ".png" or ".jpg" or ".jpeg";

    /// <summary>Reads no more of the file than its header.</summary>
    /// <exception cref="InvalidDataException">No picture that can be read; the message is part of a sentence.</exception>
    public static PictureHeader Header(Stream file)
    {
        var start = new byte[PngHeaderBytes];
        var read = file.ReadAtLeast(start, JpegHeader.Signature.Length, throwOnEndOfStream: false);
        if (JpegHeader.IsJpeg(start.AsSpan(0, read)))
        {
            return JpegHeader.Read(new StartedStream(start.AsMemory(0, read), file));
        }
        read += file.ReadAtLeast(start.AsSpan(read), start.Length - read, throwOnEndOfStream: false);
        var png = PngDecoder.Header(start.AsSpan(0, read));
        return new PictureHeader(png.Width, png.Height, png.Channels);
    }

    /// <param name="file">The whole file.</param>
    /// <param name="shape">Which the picture's sides must have; grey pictures fill three channels alike.</param>
    /// <param name="pixels">[C, H, W].</param>
    /// <exception cref="InvalidDataException">As for <see cref="Header"/>.</exception>
    public static void Decode(byte[] file, ImageShape shape, Span<byte> pixels)
    {
        var header = Header(new MemoryStream(file));
        if (header.Width != shape.Width || header.Height != shape.Height)
        {
            throw new InvalidDataException($"measures {header.Width} × {header.Height} instead of {shape.Width} × {shape.Height}");
        }
        if (JpegHeader.IsJpeg(file))
        {
            JpegDecoder.Decode(file, shape, header.Orientation, pixels);
        }
        else
        {
            PngDecoder.Decode(file, shape.Channels, pixels);
        }
    }

    /// <summary>A stream whose first bytes have been read already; forward only.</summary>
    private sealed class StartedStream(ReadOnlyMemory<byte> start, Stream rest) : Stream
    {
        private ReadOnlyMemory<byte> _start = start;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(Span<byte> buffer)
        {
            if (_start.IsEmpty)
            {
                return rest.Read(buffer);
            }
            var taken = Math.Min(buffer.Length, _start.Length);
            _start.Span[..taken].CopyTo(buffer);
            _start = _start[taken..];
            return taken;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
