using System.Buffers.Binary;

namespace DeepSeek.Preprocessing.Images;

/// <summary>
/// Finds the frame header of a JPEG (ITU-T T.81, B.2.2) and the orientation in front of it: its size is known before any of it reaches the
/// native decoder. What is in use is taken: baseline, extended and progressive Huffman coding of 8 bits, grey or colour.
/// </summary>
internal static class JpegHeader
{
    private const byte Marker = 0xFF;
    private const byte StartOfImage = 0xD8;
    private const byte EndOfImage = 0xD9;
    private const byte StartOfScan = 0xDA;
    private const byte Metadata = 0xE1;
    private const byte Progressive = 0xC2;

    public static ReadOnlySpan<byte> Signature => [Marker, StartOfImage, Marker];

    public static bool IsJpeg(ReadOnlySpan<byte> file) => file.StartsWith(Signature);

    /// <exception cref="InvalidDataException">No JPEG that can be read; the message is part of a sentence.</exception>
    public static PictureHeader Read(Stream file)
    {
        Span<byte> bytes = stackalloc byte[6];
        var content = Array.Empty<byte>();
        int? orientation = null;
        try
        {
            file.ReadExactly(bytes[..2]);
            while (true)
            {
                var marker = NextMarker(file);
                if (marker is StartOfScan or EndOfImage)
                {
                    throw new InvalidDataException("is a JPEG without a frame");
                }
                if (marker is StartOfImage or 0x01 or (>= 0xD0 and <= 0xD7))
                {
                    continue; // stands alone
                }
                file.ReadExactly(bytes[..2]);
                var length = BinaryPrimitives.ReadUInt16BigEndian(bytes) - 2;
                if (IsFrame(marker))
                {
                    file.ReadExactly(bytes);
                    return length >= bytes.Length ? Frame(marker, bytes, orientation ?? ExifOrientation.Upright) : throw new InvalidDataException("has a JPEG frame that is cut off");
                }
                if (length < 0)
                {
                    throw new InvalidDataException("has a JPEG segment of an impossible length");
                }
                Array.Resize(ref content, Math.Max(length, content.Length)); // 64 KiB at most
                var segment = content.AsSpan(0, length);
                file.ReadExactly(segment);
                if (marker == Metadata && segment.StartsWith(ExifOrientation.Signature))
                {
                    orientation ??= ExifOrientation.Read(segment); // other metadata, as XMP, come in such segments too
                }
            }
        }
        catch (EndOfStreamException)
        {
            throw new InvalidDataException("is a JPEG that ends before its frame");
        }
    }

    private static byte NextMarker(Stream file)
    {
        int value = file.ReadByte();
        if (value != Marker)
        {
            throw value < 0 ? new EndOfStreamException() : new InvalidDataException("has a JPEG segment where none may be");
        }
        while (value == Marker)
        {
            value = file.ReadByte();
        }
        return value < 0 ? throw new EndOfStreamException() : (byte)value;
    }

    // C4 is a Huffman table, C8 reserved, CC arithmetic conditioning.
    private static bool IsFrame(byte marker) => marker is >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC);

    private static PictureHeader Frame(byte marker, ReadOnlySpan<byte> frame, int orientation)
    {
        var (precision, components) = (frame[0], frame[5]);
        int height = BinaryPrimitives.ReadUInt16BigEndian(frame[1..]), width = BinaryPrimitives.ReadUInt16BigEndian(frame[3..]);
        if (marker > Progressive || precision != 8)
        {
            throw new InvalidDataException("is a JPEG of a rare kind (lossless, arithmetic, hierarchical or of more than 8 bits); save it as an ordinary JPEG or as PNG");
        }
        if (components is not (1 or 3))
        {
            throw new InvalidDataException("is a JPEG for print (CMYK); save it in RGB");
        }
        return width is > 0 and <= Pictures.MaxSide && height is > 0 and <= Pictures.MaxSide
            ? orientation < 5 ? new PictureHeader(width, height, components, orientation) : new PictureHeader(height, width, components, orientation)
            : throw new InvalidDataException($"measures {width} × {height}; sides may have 1 to {Pictures.MaxSide} pixels");
    }
}
