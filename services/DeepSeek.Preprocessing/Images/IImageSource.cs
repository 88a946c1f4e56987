using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Images;

internal sealed record ImageShape(int Channels, int Height, int Width)
{
    public int Bytes => Channels * Height * Width;
}

/// <summary>Spooled, checked images that can be read as often as wanted, always in the same order.</summary>
internal interface IImageSource
{
    ImageShape Shape { get; }

    IReadOnlyList<string> Classes { get; }

    long Count { get; }

    /// <summary>The class and, when the data fix it, the part of each image.</summary>
    IEnumerable<(int Class, SplitPart? Part)> Labels();

    /// <summary>Fills <paramref name="pixels"/> ([C, H, W]) with one image after the other, in the order of <see cref="Labels"/>.</summary>
    IEnumerable<bool> Read(byte[] pixels);
}
