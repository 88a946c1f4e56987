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
