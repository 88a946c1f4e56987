using System.Runtime.InteropServices;
using DeepSeek.Preprocessing.Images;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>Makes JPEGs with libjpeg-turbo's compressor: quality 100, no subsampling.</summary>
internal static unsafe partial class TestJpeg
{
    private const string Library = "libturbojpeg.so.0";
    private const int Progressive = 16384;

    public static byte[] Make(byte[] pixels, ImageShape shape, bool progressive)
    {
        var plane = shape.Height * shape.Width;
        var interleaved = Enumerable.Range(0, shape.Bytes).Select(i => pixels[(i % shape.Channels * plane) + (i / shape.Channels)]).ToArray();
        var handle = InitCompress();
        byte* target = null;
        nuint size = 0;
        fixed (byte* source = interleaved)
        {
            var (format, subsampling) = shape.Channels == 1 ? (6, 3) : (0, 0);
            Assert.Equal(0, Compress(handle, source, shape.Width, 0, shape.Height, format, &target, &size, subsampling, 100, progressive ? Progressive : 0));
        }
        var file = new ReadOnlySpan<byte>(target, (int)size).ToArray();
        Free(target);
        Assert.Equal(0, Destroy(handle));
        return file;
    }

    /// <summary>The same file with an orientation in its metadata.</summary>
    public static byte[] Oriented(byte[] file, int orientation, bool little) => WithMetadata(file, Exif(orientation, little));

    /// <summary>The file with a segment of metadata at its beginning.</summary>
    public static byte[] WithMetadata(byte[] file, byte[] content) =>
        [.. file[..2], 0xFF, 0xE1, (byte)((content.Length + 2) >> 8), (byte)(content.Length + 2), .. content, .. file[2..]];

    /// <summary>A directory of two entries: the width, a long, and the orientation, a short.</summary>
    public static byte[] Exif(int orientation, bool little)
    {
        byte[] Number(int value, int size) => [.. Enumerable.Range(0, size).Select(i => (byte)(value >> (8 * (little ? i : size - 1 - i))))];
        return
        [
            .. "Exif\0\0"u8, .. little ? "II"u8 : "MM"u8, .. Number(42, 2), .. Number(8, 4), .. Number(2, 2),
            .. Number(0x0100, 2), .. Number(4, 2), .. Number(1, 4), .. Number(640, 4),
            .. Number(0x0112, 2), .. Number(3, 2), .. Number(1, 4), .. Number(orientation, 2), 0, 0,
        ];
    }

    [LibraryImport(Library, EntryPoint = "tjInitCompress")]
    private static partial nint InitCompress();

    [LibraryImport(Library, EntryPoint = "tjCompress2")]
    private static partial int Compress(
        nint handle, byte* source, int width, int pitch, int height, int format, byte** target, nuint* size, int subsampling, int quality, int flags);

    [LibraryImport(Library, EntryPoint = "tjFree")]
    private static partial void Free(byte* buffer);

    [LibraryImport(Library, EntryPoint = "tjDestroy")]
    private static partial int Destroy(nint handle);
}
