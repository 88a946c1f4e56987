using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using System.Text;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Preparation;
using DeepSeek.Testing;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace DeepSeek.Preprocessing.Tests;

public sealed class ImageTests
{
    private const long NoLimit = 1L << 40;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Idx_WithOfficialTest_KeepsItAndNormalises(bool gzip)
    {
        using var prepared = new Prepared();
        var spool = prepared.NewSpool();
        var train = Pixels(300, 1);
        var test = Pixels(50, 2);
        var files = new[]
        {
            Write(spool, "train-images", Idx(train, 300, 4, 5), gzip), Write(spool, "train-labels", Idx(Labels(300), 300), gzip),
            Write(spool, "t10k-images", Idx(test, 50, 4, 5), gzip), Write(spool, "t10k-labels", Idx(Labels(50), 50), gzip),
        };
        var source = new IdxImages(spool, IdxImages.Pair([.. files]));
        var spec = new DatasetSpec { Name = "idx", Format = DatasetFormat.Idx, Split = new SplitSpec { Train = 0.8, Validation = 0.1, Test = 0.1 } };
        await prepared.RunAsync(spec, spool, context => new ImagePreparation(context, source).RunAsync(CancellationToken.None));

        Assert.Equal(["3", "7", "9"], prepared.Manifest.Classes);
        Assert.Equal([1, 4, 5], prepared.Manifest.FeatureShape);
        Assert.Equal(50, prepared.Manifest.Splits["test"].Rows);
        Assert.Equal(33, prepared.Manifest.Splits["validation"].Rows); // 300 · 0.1 / 0.9
        Assert.Equal(test, prepared.Blocks("test").SelectMany(b => b.Features.Data));
        Assert.Equal(Labels(50).Select(l => l switch { 3 => 0L, 7 => 1, _ => 2 }), prepared.Classes("test"));
        var block = prepared.Blocks("train").First();
        Assert.Equal("|u1", block.Features.Descriptor);
        Assert.Equal([267, 1, 4, 5], block.Features.Shape);

        // Mean and deviation of the train bytes, and the graph against them.
        var bytes = prepared.Blocks("train").SelectMany(b => b.Features.Data).Select(b => b / 255.0).ToArray();
        var mean = bytes.Average();
        var deviation = Math.Sqrt(bytes.Average(b => (b - mean) * (b - mean)));
        using var session = new InferenceSession(prepared.Blob(prepared.Manifest.Pipeline.Sha256));
        using var outputs = session.Run([NamedOnnxValue.CreateFromTensor("image", new DenseTensor<byte>(test, [50, 1, 4, 5]))]);
        var features = outputs.Single().AsTensor<float>().ToArray();
        Assert.All(features.Zip(test), p => Assert.Equal(((p.Second / 255.0) - mean) / deviation, p.First, 1e-5));
    }

    [Theory]
    [InlineData(new byte[] { 1, 0, 8, 1, 0, 0, 0, 1, 5 }, "does not begin with two zero bytes")]
    [InlineData(new byte[] { 0, 0, 13, 1, 0, 0, 0, 1, 5 }, "IDX type 0x0D")]
    [InlineData(new byte[] { 0, 0, 8, 2, 0, 0, 0, 1 }, "with 2 dimensions")]
    [InlineData(new byte[] { 0, 0, 8, 1, 0, 0, 0, 9, 5 }, "is cut off")]
    [InlineData(new byte[] { 0, 0, 8, 1, 0, 0, 0, 1, 5, 6 }, "goes on behind")]
    [InlineData(new byte[] { 0, 0, 8, 1, 255, 255, 255, 255 }, "announces 4294967295 for dimension 1")]
    [InlineData(new byte[] { 0, 0, 8, 3, 127, 255, 255, 255, 0, 0, 16, 0, 0, 0, 16, 0 }, "at most")]
    [InlineData(new byte[] { 0, 0, 8, 1, 0, 0, 0, 0 }, "announces 0 for dimension 1")]
    [InlineData(new byte[] { 0, 0 }, "shorter than an IDX header")]
    [InlineData(new byte[] { 0x1F, 0x8B, 0, 0 }, "damaged gzip")]
    public void Idx_Broken_IsNamed(byte[] bytes, string expected)
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        File.WriteAllBytes(path, bytes);
        Assert.Contains(expected, Assert.Throws<DataFault>(() => IdxFile.Inspect(path, "labels", 1 << 30)).Message);
    }

    [Fact]
    public void Idx_GzipBomb_StopsAtTheAnnouncedSize()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        using (var gzip = new GZipStream(File.Create(path), CompressionLevel.Fastest))
        {
            gzip.Write([0, 0, 8, 1, 0, 0, 0, 9]);
            gzip.Write(new byte[200 << 20]);
        }
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("goes on behind the 9 bytes", Assert.Throws<DataFault>(() => IdxFile.Inspect(path, "labels", NoLimit)).Message);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 4 << 20);
    }

    [Theory]
    [InlineData(0, 1, false)]
    [InlineData(0, 2, false)]
    [InlineData(0, 4, true)]
    [InlineData(0, 8, true)]
    [InlineData(0, 16, false)]
    [InlineData(2, 8, false)]
    [InlineData(2, 16, true)]
    [InlineData(3, 2, false)]
    [InlineData(3, 8, true)]
    [InlineData(4, 8, false)]
    [InlineData(6, 8, true)]
    [InlineData(6, 16, false)]
    public void Png_EveryKind_DecodesToItsPixels(int colorType, int depth, bool interlaced)
    {
        var (file, expected) = TestPng.Make(13, 9, colorType, depth, interlaced, seed: 3);
        var header = PngDecoder.Header(file);
        Assert.Equal((13, 9), (header.Width, header.Height));
        var pixels = new byte[header.Channels * 13 * 9];
        PngDecoder.Decode(file, header.Channels, pixels);
        Assert.Equal(expected, pixels);
    }

    [Fact]
    public void Png_Damaged_IsNamed()
    {
        var (file, _) = TestPng.Make(13, 9, 2, 8, false, seed: 3);
        var pixels = new byte[3 * 13 * 9];
        var flipped = file.ToArray();
        flipped[50] ^= 1;
        Assert.Contains("checksum", Assert.Throws<InvalidDataException>(() => PngDecoder.Decode(flipped, 3, pixels)).Message);
        Assert.Contains("cut off", Assert.Throws<InvalidDataException>(() => PngDecoder.Decode(file.AsSpan(0, 60), 3, pixels)).Message);
        Assert.Contains("no PNG", Assert.Throws<InvalidDataException>(() => PngDecoder.Header("GIF89a"u8)).Message);
        var huge = file.ToArray();
        BinaryPrimitives.WriteUInt32BigEndian(huge.AsSpan(16), 100_000);
        Assert.Contains("measures 100000", Assert.Throws<InvalidDataException>(() => PngDecoder.Header(huge)).Message);
    }

    [Fact]
    public async Task Zip_FolderPerClass_BecomesShards()
    {
        using var prepared = new Prepared();
        var spool = prepared.NewSpool();
        var path = Path.Combine(spool, "part-0");
        var expected = new Dictionary<string, byte[]>();
        Zip(path, archive =>
        {
            for (var i = 0; i < 60; i++)
            {
                var (png, pixels) = TestPng.Make(6, 4, i == 5 ? 2 : 0, 8, false, seed: i);
                var name = $"set/{(i % 2 == 0 ? "cat" : "dog")}/{i:D3}.png";
                Add(archive, name, png);
                expected[name] = pixels;
            }
            Add(archive, "__MACOSX/._x", [1]);
        });
        var zip = ZipIntake.Inspect(path, detect: true, NoLimit);
        Assert.Equal(["cat", "dog"], zip.Classes);
        Assert.Equal(new ImageShape(3, 4, 6), zip.Shape);
        var spec = new DatasetSpec { Name = "zip", Format = DatasetFormat.ImageZip };
        await prepared.RunAsync(spec, spool, context => new ImagePreparation(context, new ZipImages(spool, zip)).RunAsync(CancellationToken.None));
        Assert.Equal([48L, 0, 12], prepared.Manifest.Splits.Values.Select(s => s.Rows));
        var stored = new[] { "train", "test" }.SelectMany(s => prepared.Blocks(s)).SelectMany(b => b.Features.Data.Chunk(3 * 24)).Select(Convert.ToHexString).Order();
        Assert.Equal(expected.Values.Select(p => Convert.ToHexString(p.Length == 24 ? [.. p, .. p, .. p] : p)).Order(), stored);
    }

    [Fact]
    public void Zip_WithLabelsFile_TakesLabelsFromIt()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        Zip(path, archive =>
        {
            Add(archive, "labels.csv", "file,label\n\"a,1.png\",one\nb.png,two\n"u8.ToArray());
            Add(archive, "a,1.png", TestPng.Make(2, 2, 0, 8, false, 1).File);
            Add(archive, "b.png", TestPng.Make(2, 2, 0, 8, false, 2).File);
        });
        var zip = ZipIntake.Inspect(path, detect: true, NoLimit);
        Assert.Equal([("a,1.png", 0), ("b.png", 1)], zip.Pictures.Select(p => (p.Entry, p.Class)));
    }

    [Fact]
    public void Zip_WithTwoLabelsFiles_IsRefusedNamingBoth()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        Zip(path, archive =>
        {
            Add(archive, "labels.csv", "file,label\na.png,one\n"u8.ToArray());
            Add(archive, "more/labels.csv", "file,label\nb.png,two\n"u8.ToArray());
            Add(archive, "a.png", TestPng.Make(2, 2, 0, 8, false, 1).File);
        });

        var fault = Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, detect: true, NoLimit));

        Assert.Contains("'labels.csv' and 'more/labels.csv'", fault.Detail);
    }

    [Theory]
    [InlineData("../../etc/cron.d/x.png", "leads out of the archive")]
    [InlineData("/abs/x.png", "leads out of the archive")]
    [InlineData("a\\..\\x.png", "leads out of the archive")]
    [InlineData("C:/x.png", "leads out of the archive")]
    [InlineData("cat/x.gif", "is neither a PNG or JPEG picture")]
    [InlineData("cat/x.txt", "is neither a PNG or JPEG picture")]
    [InlineData("x.png", "lies in no folder")]
    [InlineData("cat/only.png", "have one class")]
    public void Zip_BadEntry_IsRefusedByName(string name, string expected)
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        Zip(path, archive => Add(archive, name, TestPng.Make(2, 2, 0, 8, false, 1).File));
        Assert.Contains(expected, Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, detect: true, NoLimit)).Message);
        Assert.Equal(["part-0"], Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void Zip_Bomb_IsRefusedUnopened()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        Zip(path, archive => Add(archive, "cat/x.png", new byte[30 << 20]));
        Assert.Contains("unpacks to more than 200 times its size", Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, true, NoLimit)).Message);
        Assert.Contains("unpacks to too much", Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, true, 1 << 20)).Message);
        File.WriteAllText(path, "no archive");
        Assert.Contains("not a zip archive", Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, true, NoLimit)).Message);
    }

    [Fact]
    public void Zip_SizesDiffer_NamesBothPictures()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(folder.Path, "part-0");
        Zip(path, archive =>
        {
            Add(archive, "cat/a.png", TestPng.Make(2, 2, 0, 8, false, 1).File);
            Add(archive, "dog/b.png", TestPng.Make(3, 2, 0, 8, false, 1).File);
        });
        Assert.Contains("'dog/b.png' measures 3 × 2 and 'cat/a.png' 2 × 2", Assert.Throws<DataFault>(() => ZipIntake.Inspect(path, true, NoLimit)).Message);
    }

    internal static byte[] Idx(byte[] data, params int[] dimensions)
    {
        var header = new byte[4 + (4 * dimensions.Length)];
        (header[2], header[3]) = (8, (byte)dimensions.Length);
        for (var i = 0; i < dimensions.Length; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4 + (4 * i)), dimensions[i]);
        }
        return [.. header, .. data];
    }

    private static byte[] Pixels(int images, ulong seed)
    {
        var random = new SeededRandom(seed, "pixels");
        return [.. Enumerable.Range(0, images * 20).Select(_ => (byte)random.Next(200))];
    }

    private static byte[] Labels(int images) => [.. Enumerable.Range(0, images).Select(i => (byte)(i % 3 == 0 ? 7 : i % 3 == 1 ? 3 : 9))];

    private static IdxFile Write(string directory, string name, byte[] bytes, bool gzip)
    {
        var path = Path.Combine(directory, name);
        using (var file = File.Create(path))
        using (var stream = gzip ? new GZipStream(file, CompressionLevel.Fastest) : (Stream)file)
        {
            stream.Write(bytes);
        }
        return IdxFile.Inspect(path, name + "-idx-ubyte", NoLimit);
    }

    private static void Zip(string path, Action<ZipArchive> fill)
    {
        using var archive = new ZipArchive(File.Create(path), ZipArchiveMode.Create, leaveOpen: false, Encoding.UTF8);
        fill(archive);
    }

    private static void Add(ZipArchive archive, string name, byte[] content)
    {
        using var stream = archive.CreateEntry(name, CompressionLevel.Optimal).Open();
        stream.Write(content);
    }
}

/// <summary>Writes PNG files of every kind, with every line filter, independently of the decoder.</summary>
internal static class TestPng
{
    public static (byte[] File, byte[] Pixels) Make(int width, int height, int colorType, int depth, bool interlaced, int seed)
    {
        var random = new SeededRandom((ulong)seed, "png");
        var samples = colorType switch { 0 or 3 => 1, 4 => 2, 2 => 3, _ => 4 };
        var raw = new int[height, width, samples];
        for (var i = 0; i < raw.Length; i++)
        {
            raw[i / samples / width, i / samples % width, i % samples] = (int)random.Next(1L << depth);
        }
        var palette = Enumerable.Range(0, (1 << Math.Min(depth, 8)) * 3).Select(_ => (byte)random.Next(256)).ToArray();
        using var data = new MemoryStream();
        using (var zlib = new ZLibStream(data, CompressionLevel.Optimal, leaveOpen: true))
        {
            foreach (var (x0, y0, dx, dy) in interlaced ? new[] { (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2) } : [(0, 0, 1, 1)])
            {
                Pass(zlib, raw, depth, samples, x0, y0, dx, dy);
            }
        }
        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9], header[12]) = ((byte)depth, (byte)colorType, (byte)(interlaced ? 1 : 0));
        var split = (int)data.Length / 2;
        byte[] file =
        [
            0x89, .. "PNG\r\n\x1A\n"u8, .. Chunk("IHDR", header), .. colorType == 3 ? Chunk("PLTE", palette) : [],
            .. Chunk("IDAT", data.ToArray()[..split]), .. Chunk("IDAT", data.ToArray()[split..]), .. Chunk("IEND", []),
        ];
        return (file, Expected(raw, colorType, depth, palette));
    }

    private static void Pass(Stream output, int[,,] raw, int depth, int samples, int x0, int y0, int dx, int dy)
    {
        byte[]? previous = null;
        var filter = 0;
        for (var y = y0; y < raw.GetLength(0); y += dy)
        {
            var bits = new List<bool>();
            for (var x = x0; x < raw.GetLength(1); x += dx)
            {
                for (var s = 0; s < samples; s++)
                {
                    for (var bit = depth - 1; bit >= 0; bit--)
                    {
                        bits.Add((raw[y, x, s] >> bit & 1) != 0);
                    }
                }
            }
            if (bits.Count == 0)
            {
                return;
            }
            var line = bits.Chunk(8).Select(b => (byte)b.Select((set, i) => set ? 128 >> i : 0).Sum()).ToArray();
            previous ??= new byte[line.Length];
            output.WriteByte((byte)filter);
            output.Write(Filter(filter, line, previous, Math.Max(1, samples * depth / 8)));
            previous = line;
            filter = (filter + 1) % 5;
        }
    }

    private static byte[] Filter(int filter, byte[] line, byte[] previous, int step) => [.. line.Select((value, i) =>
    {
        int a = i >= step ? line[i - step] : 0, b = previous[i], c = i >= step ? previous[i - step] : 0;
        var p = a + b - c;
        var paeth = Math.Abs(p - a) <= Math.Abs(p - b) && Math.Abs(p - a) <= Math.Abs(p - c) ? a : Math.Abs(p - b) <= Math.Abs(p - c) ? b : c;
        return (byte)(value - filter switch { 0 => 0, 1 => a, 2 => b, 3 => (a + b) / 2, _ => paeth });
    })];

    private static byte[] Expected(int[,,] raw, int colorType, int depth, byte[] palette)
    {
        int height = raw.GetLength(0), width = raw.GetLength(1);
        var channels = colorType is 0 or 4 ? 1 : 3;
        var pixels = new byte[channels * height * width];
        for (var i = 0; i < height * width; i++)
        {
            int Sample(int s) => depth == 16 ? raw[i / width, i % width, s] >> 8 : colorType == 3 ? raw[i / width, i % width, s] : raw[i / width, i % width, s] * 255 / ((1 << depth) - 1);
            var alpha = colorType is 4 or 6 ? Sample(colorType == 4 ? 1 : 3) : 255;
            for (var c = 0; c < channels; c++)
            {
                var value = colorType == 3 ? palette[(Sample(0) * 3) + c] : Sample(colorType is 0 or 4 ? 0 : c);
                pixels[(c * height * width) + i] = (byte)(((value * alpha) + 127) / 255);
            }
        }
        return pixels;
    }

    private static byte[] Chunk(string type, byte[] content)
    {
        byte[] body = [.. Encoding.ASCII.GetBytes(type), .. content];
        var chunk = new byte[body.Length + 8];
        BinaryPrimitives.WriteInt32BigEndian(chunk, content.Length);
        body.CopyTo(chunk, 4);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(body.Length + 4), Crc32.HashToUInt32(body));
        return chunk;
    }
}
