using System.Buffers.Binary;
using System.IO.Compression;

namespace DeepSeek.Compression.Tests.Nets;

/// <summary>Fashion-MNIST from Debian's package dataset-fashion-mnist (eng/prerequisites.txt).</summary>
public sealed record FashionMnist(byte[] Pixels, int[] Labels)
{
    public const int PixelsPerImage = 28 * 28;

    public static readonly string[] Classes = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"];

    public int Count => Labels.Length;

    public static FashionMnist Train(int count) => Load("train", count);

    public static FashionMnist Test(int count) => Load("t10k", count);

    private static FashionMnist Load(string part, int count)
    {
        var pixels = Read($"{part}-images-idx3-ubyte.gz", 16, count * PixelsPerImage);
        var labels = Read($"{part}-labels-idx1-ubyte.gz", 8, count);
        return new FashionMnist(pixels, [.. labels.Select(l => (int)l)]);
    }

    private static byte[] Read(string name, int header, int length)
    {
        using var gzip = new GZipStream(File.OpenRead(Path.Combine("/usr/share/datasets/fashion-mnist", name)), CompressionMode.Decompress);
        var bytes = new byte[header + length];
        gzip.ReadExactly(bytes);
        Assert.Equal(0x08, BinaryPrimitives.ReadInt32BigEndian(bytes) >> 8);
        return bytes[header..];
    }
}
