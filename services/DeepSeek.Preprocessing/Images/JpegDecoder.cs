using System.Buffers;
using System.Runtime.InteropServices;

namespace DeepSeek.Preprocessing.Images;

/// <summary>
/// Decodes JPEGs by libjpeg-turbo's TurboJPEG interface (turbojpeg.h, 2.1), always with the exact integer transform, so that the same file
/// gives the same bytes on every machine. Scans of a progressive picture are limited, and what the library only warns of, as data that end
/// too early, is refused.
/// </summary>
internal static unsafe partial class JpegDecoder
{
    private const string Library = "libturbojpeg.so.0";
    private const int PixelsRgb = 0;
    private const int PixelsGrey = 6;
    private const int AccurateDct = 4096;
    private const int StopOnWarning = 8192;
    private const int LimitScans = 32768;

    /// <param name="file">Whose header <see cref="JpegHeader"/> has accepted.</param>
    /// <param name="shape">The header's sides, of the upright picture; 1 or 3 channels, grey fills three alike.</param>
    /// <param name="orientation">The header's.</param>
    /// <param name="pixels">[C, H, W].</param>
    /// <exception cref="InvalidDataException">It is damaged, or the library is not installed; the message is part of a sentence.</exception>
    public static void Decode(ReadOnlySpan<byte> file, ImageShape shape, int orientation, Span<byte> pixels)
    {
        var stored = orientation < 5 ? shape : shape with { Width = shape.Height, Height = shape.Width };
        var (first, down, right) = ExifOrientation.Steps(orientation, shape.Width, shape.Height);
        var interleaved = ArrayPool<byte>.Shared.Rent(shape.Bytes);
        try
        {
            Decompress(file, stored, interleaved);
            var plane = shape.Height * shape.Width;
            for (var channel = 0; channel < shape.Channels; channel++)
            {
                var target = pixels.Slice(channel * plane, plane);
                for (int row = 0, source = channel; row < stored.Height; row++)
                {
                    var at = first + (row * down);
                    for (var column = 0; column < stored.Width; column++, source += shape.Channels, at += right)
                    {
                        target[at] = interleaved[source];
                    }
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(interleaved);
        }
    }

    private static void Decompress(ReadOnlySpan<byte> file, ImageShape shape, Span<byte> interleaved)
    {
        var handle = Open();
        try
        {
            fixed (byte* source = file, target = interleaved)
            {
                if (Decompress(
                    handle, source, (nuint)file.Length, target, shape.Width, shape.Channels * shape.Width, shape.Height,
                    shape.Channels == 1 ? PixelsGrey : PixelsRgb, AccurateDct | StopOnWarning | LimitScans) != 0)
                {
                    throw new InvalidDataException($"is a damaged JPEG ({Marshal.PtrToStringUTF8((nint)Error(handle))})");
                }
            }
        }
        finally
        {
            _ = Close(handle);
        }
    }

    private static nint Open()
    {
        try
        {
            return Init() is var handle and not 0 ? handle : throw new InsufficientMemoryException("The JPEG decoder could not be made.");
        }
        catch (DllNotFoundException)
        {
            throw new InvalidDataException($"is a JPEG, for which this server lacks {Library} (package libturbojpeg0); have it installed, or send PNG");
        }
    }

    [LibraryImport(Library, EntryPoint = "tjInitDecompress")]
    private static partial nint Init();

    [LibraryImport(Library, EntryPoint = "tjDecompress2")]
    private static partial int Decompress(nint handle, byte* source, nuint bytes, byte* target, int width, int pitch, int height, int format, int flags);

    [LibraryImport(Library, EntryPoint = "tjGetErrorStr2")]
    private static partial byte* Error(nint handle);

    [LibraryImport(Library, EntryPoint = "tjDestroy")]
    private static partial int Close(nint handle);
}
