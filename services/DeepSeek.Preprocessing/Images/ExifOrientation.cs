using System.Buffers.Binary;

namespace DeepSeek.Preprocessing.Images;

/// <summary>
/// How a camera was held, from the metadata of a picture: tag 0x0112 of the first directory (EXIF 2.32, 4.6.4; TIFF 6.0, section 8).
/// Nothing else of it is read, no offset is followed but the one to that directory, and what cannot be read counts as upright.
/// </summary>
internal static class ExifOrientation
{
    public const int Upright = 1;

    private const int EntryBytes = 12;
    private const ushort Orientation = 0x0112;
    private const ushort Short = 3;

    public static ReadOnlySpan<byte> Signature => "Exif\0\0"u8;

    /// <summary>1 to 8; from 5 on the sides are exchanged.</summary>
    /// <param name="segment">The content of a JPEG's APP1 segment.</param>
    public static int Read(ReadOnlySpan<byte> segment)
    {
        if (!segment.StartsWith(Signature))
        {
            return Upright;
        }
        var tiff = segment[Signature.Length..];
        bool little = tiff.StartsWith("II*\0"u8);
        if ((!little && !tiff.StartsWith("MM\0*"u8)) || tiff.Length < 8)
        {
            return Upright;
        }
        var start = Number(tiff, 4, 4, little);
        if (start > tiff.Length - 2)
        {
            return Upright;
        }
        var directory = tiff[(int)start..];
        var count = Math.Min(Number(directory, 0, 2, little), (directory.Length - 2) / EntryBytes);
        for (var at = 2; at < 2 + (count * EntryBytes); at += EntryBytes)
        {
            var entry = directory.Slice(at, EntryBytes);
            if (Number(entry, 0, 2, little) == Orientation)
            {
                return Number(entry, 2, 2, little) == Short && Number(entry, 4, 4, little) == 1 && Number(entry, 8, 2, little) is >= 1 and <= 8 and var value
                    ? (int)value
                    : Upright;
            }
        }
        return Upright;
    }

    /// <summary>
    /// Where stored pixels go in the upright picture: pixel (row, column) to index first + row · down + column · right.
    /// </summary>
    /// <param name="orientation">1 to 8.</param>
    /// <param name="width">Of the upright picture.</param>
    /// <param name="height">Of the upright picture.</param>
    public static (int First, int Down, int Right) Steps(int orientation, int width, int height)
    {
        var (right, below) = (width - 1, (height - 1) * width);
        return orientation switch
        {
            1 => (0, width, 1),
            2 => (right, width, -1),
            3 => (below + right, -width, -1),
            4 => (below, -width, 1),
            5 => (0, 1, width),
            6 => (right, -1, width),
            7 => (below + right, -1, -width),
            8 => (below, 1, -width),
            _ => throw new ArgumentOutOfRangeException(nameof(orientation), orientation, "An orientation is 1 to 8."),
        };
    }

    private static long Number(ReadOnlySpan<byte> bytes, int at, int size, bool little) => (size, little) switch
    {
        (2, true) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]),
        (2, false) => BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]),
        (_, true) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]),
        (_, false) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]),
    };
}
