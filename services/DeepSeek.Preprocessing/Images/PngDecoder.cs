using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;

namespace DeepSeek.Preprocessing.Images;

/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="BitDepth">1, 2, 4, 8 or 16.</param>
/// <param name="ColorType">0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.</param>
/// <param name="Interlaced">Adam7.</param>
internal sealed record PngHeader(int Width, int Height, int BitDepth, int ColorType, bool Interlaced)
{
    /// <summary>1 for grey, 3 for the rest; alpha is laid over black.</summary>
    public int Channels => ColorType is 0 or 4 ? 1 : 3;
}

/// <summary>Reads PNG (ISO/IEC 15948) into bytes [C, H, W]: all colour types, depths and interlacing; 16 bits lose their low byte.</summary>
internal static class PngDecoder
{
    private static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    public static bool IsPng(ReadOnlySpan<byte> file) => file.StartsWith(Signature);

    /// <exception cref="InvalidDataException">Not a PNG that can be read; the message is part of a sentence.</exception>
    public static PngHeader Header(ReadOnlySpan<byte> file)
    {
        if (!IsPng(file) || file.Length < 33 || !file[12..16].SequenceEqual("IHDR"u8))
        {
            throw new InvalidDataException("is no PNG");
        }
        var width = BinaryPrimitives.ReadUInt32BigEndian(file[16..]);
        var height = BinaryPrimitives.ReadUInt32BigEndian(file[20..]);
        if (width is 0 or > Pictures.MaxSide || height is 0 or > Pictures.MaxSide)
        {
            throw new InvalidDataException($"measures {width} × {height}; sides may have 1 to {Pictures.MaxSide} pixels");
        }
        var (depth, color) = (file[24], file[25]);
        var valid = color switch { 0 => depth is 1 or 2 or 4 or 8 or 16, 3 => depth is 1 or 2 or 4 or 8, 2 or 4 or 6 => depth is 8 or 16, _ => false };
        return valid && file[26] == 0 && file[27] == 0 && file[28] <= 1
            ? new PngHeader((int)width, (int)height, depth, color, file[28] == 1)
            : throw new InvalidDataException("has a PNG header with values the format does not know");
    }

    /// <param name="file">The whole file.</param>
    /// <param name="channels">1 or 3: grey pictures fill three channels alike.</param>
    /// <param name="pixels">[C, H, W].</param>
    public static void Decode(ReadOnlySpan<byte> file, int channels, Span<byte> pixels)
    {
        var header = Header(file);
        var (data, palette) = Chunks(file);
        var samples = header.ColorType switch { 0 or 3 => 1, 4 => 2, 2 => 3, _ => 4 };
        using var zlib = new ZLibStream(new MemoryStream(data), CompressionMode.Decompress);
        (int X, int Y, int Dx, int Dy)[] passes = header.Interlaced
            ? [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
            : [(0, 0, 1, 1)];
        foreach (var (x0, y0, dx, dy) in passes)
        {
            var width = (header.Width - x0 + dx - 1) / dx;
            var height = (header.Height - y0 + dy - 1) / dy;
            if (width <= 0 || height <= 0)
            {
                continue;
            }
            var bitsPerPixel = samples * header.BitDepth;
            var step = Math.Max(1, bitsPerPixel / 8);
            var line = new byte[((width * bitsPerPixel) + 7) / 8];
            var previous = new byte[line.Length];
            for (var y = 0; y < height; y++)
            {
                var filter = zlib.ReadByte();
                if (filter < 0 || zlib.ReadAtLeast(line, line.Length, throwOnEndOfStream: false) < line.Length)
                {
                    throw new InvalidDataException("is cut off inside its pixels");
                }
                Unfilter(filter, line, previous, step);
                for (var x = 0; x < width; x++)
                {
                    Put(header, palette, line, x, pixels, channels, ((y0 + (y * dy)) * header.Width) + x0 + (x * dx));
                }
                (line, previous) = (previous, line);
            }
        }
    }

    private static void Put(PngHeader header, ReadOnlySpan<byte> palette, byte[] line, int x, Span<byte> pixels, int channels, int at)
    {
        byte red, green, blue;
        switch (header.ColorType)
        {
            case 0:
                red = green = blue = Grey(header.BitDepth, line, x);
                break;
            case 3:
                var index = Packed(header.BitDepth, line, x) * 3;
                if (index + 2 >= palette.Length)
                {
                    throw new InvalidDataException("uses a colour its palette does not have");
                }
                (red, green, blue) = (palette[index], palette[index + 1], palette[index + 2]);
                break;
            default:
                var bytes = header.BitDepth / 8;
                var samples = header.ColorType switch { 4 => 2, 2 => 3, _ => 4 };
                var pixel = line.AsSpan(x * samples * bytes);
                red = pixel[0];
                (green, blue) = samples > 2 ? (pixel[bytes], pixel[2 * bytes]) : (red, red);
                if (samples is 2 or 4)
                {
                    var alpha = pixel[(samples - 1) * bytes];
                    (red, green, blue) = (Over(red, alpha), Over(green, alpha), Over(blue, alpha));
                }
                break;
        }
        var plane = header.Width * header.Height;
        pixels[at] = red;
        if (channels == 3)
        {
            pixels[plane + at] = green;
            pixels[(2 * plane) + at] = blue;
        }
    }

    private static byte Over(byte value, byte alpha) => (byte)(((value * alpha) + 127) / 255);

    private static byte Grey(int depth, byte[] line, int x) => depth switch
    {
        16 => line[2 * x],
        8 => line[x],
        _ => (byte)(Packed(depth, line, x) * 255 / ((1 << depth) - 1)),
    };

    private static int Packed(int depth, byte[] line, int x) =>
        (line[x * depth / 8] >> (8 - depth - (x * depth % 8))) & ((1 << depth) - 1);

    private static void Unfilter(int filter, byte[] line, byte[] previous, int step)
    {
        for (var i = 0; i < line.Length; i++)
        {
            int left = i >= step ? line[i - step] : 0, up = previous[i], corner = i >= step ? previous[i - step] : 0;
            line[i] += filter switch
            {
                0 => (byte)0,
                1 => (byte)left,
                2 => (byte)up,
                3 => (byte)((left + up) / 2),
                4 => (byte)Paeth(left, up, corner),
                _ => throw new InvalidDataException("has a line with an unknown filter"),
            };
        }
    }

    private static int Paeth(int left, int up, int corner)
    {
        var estimate = left + up - corner;
        int a = Math.Abs(estimate - left), b = Math.Abs(estimate - up), c = Math.Abs(estimate - corner);
        return a <= b && a <= c ? left : b <= c ? up : corner;
    }

    private static (byte[] Data, byte[] Palette) Chunks(ReadOnlySpan<byte> file)
    {
        var data = new MemoryStream(file.Length);
        byte[] palette = [];
        for (var at = Signature.Length; ;)
        {
            if (file.Length - at < 12)
            {
                throw new InvalidDataException("is cut off before its end");
            }
            var length = BinaryPrimitives.ReadUInt32BigEndian(file[at..]);
            if (length > file.Length - at - 12)
            {
                throw new InvalidDataException("is cut off inside a chunk");
            }
            var type = file.Slice(at + 4, 4);
            var content = file.Slice(at + 8, (int)length);
            if (Crc32.HashToUInt32(file.Slice(at + 4, 4 + (int)length)) != BinaryPrimitives.ReadUInt32BigEndian(file[(at + 8 + (int)length)..]))
            {
                throw new InvalidDataException("has a chunk whose checksum is wrong");
            }
            if (type.SequenceEqual("IDAT"u8))
            {
                data.Write(content);
            }
            else if (type.SequenceEqual("PLTE"u8))
            {
                palette = content.ToArray();
            }
            else if (type.SequenceEqual("IEND"u8))
            {
                return (data.ToArray(), palette);
            }
            at += 12 + (int)length;
        }
    }
}
