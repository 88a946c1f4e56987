using System.IO.Compression;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Data.Tests;

public sealed class FormatTests
{
    /// <summary>numpy.save of numpy.array([[1.5, -2], [3, 4]], '&lt;f4'), header written out by hand from the format's description.</summary>
    [Fact]
    public void Npy_KnownArray_HasTheDocumentedBytes()
    {
        var bytes = NpyArray.Of<float>([1.5f, -2, 3, 4], 2, 2).ToBytes();

        Assert.Equal(0, (bytes.Length - 16) % 64);
        Assert.Equal("\x93NUMPY", Encoding.Latin1.GetString(bytes, 0, 6));
        Assert.Equal([1, 0, 118, 0], bytes[6..10]);
        Assert.StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", Encoding.ASCII.GetString(bytes, 10, 118), StringComparison.Ordinal);
        Assert.Equal((byte)'\n', bytes[127]);
        Assert.Equal(1.5f, BitConverter.ToSingle(bytes, 128));
    }

    [Theory]
    [InlineData(new int[] { 3 })]
    [InlineData(new int[] { 1, 3 })]
    [InlineData(new int[] { 0, 7 })]
    [InlineData(new int[] { })]
    public void Npy_AnyShape_RoundTrips(int[] shape)
    {
        var values = Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(i => (long)i << 33).ToArray();

        var read = NpyArray.Parse(NpyArray.Of<long>(values, shape).ToBytes());

        Assert.Equal(shape, read.Shape);
        Assert.Equal(values, read.As<long>().ToArray());
        Assert.Throws<InvalidDataException>(() => { read.As<float>(); });
    }

    [Theory]
    [InlineData("no array at all")]
    [InlineData("\x93NUMPY\x01\x00\xff\xff{}")]
    [InlineData("\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}")]
    [InlineData("\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': True,  'shape': (1,), }    \n\0\0\0\0")]
    [InlineData("\x93NUMPY\x01\x00\x40\x00{'descr': '|O8', 'fortran_order': False, 'shape': (1,), }    \n\0\0\0\0")]
    [InlineData("\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }    \n\0\0\0\0")]
    public void Npy_Damaged_IsRefused(string bytes) =>
        Assert.Throws<InvalidDataException>(() => NpyArray.Parse(Encoding.Latin1.GetBytes(bytes)));

    [Fact]
    public void Shard_Blocks_RoundTripAndAreDeterministic()
    {
        var first = Shard();
        var second = Shard();

        Assert.Equal(first, second);
        var blocks = ShardReader.Read(new MemoryStream(first)).ToList();
        Assert.Equal([2, 1], blocks.Select(block => block.Rows));
        Assert.Equal([1, 2, 3, 4], blocks[0].Features.As<float>().ToArray());
        Assert.Equal([1], blocks[1].Target.As<long>().ToArray());
    }

    [Theory]
    [InlineData(600)] // within the first array
    [InlineData(1024)] // between features and target
    public void Shard_CutShort_IsRefused(int length) =>
        Assert.Throws<InvalidDataException>(() => ShardReader.Read(new MemoryStream(Shard()[..length])).ToList());

    [Fact]
    public void Manifest_RoundTrips_WithStableBytes()
    {
        var manifest = new DatasetManifest
        {
            Id = Guid.Parse("0197a1b2-0000-7000-8000-000000000001"),
            Name = "wine",
            Kind = "tabular",
            Task = "classification",
            Classes = ["a", "b"],
            Inputs = [new("x", "numeric", "FP64", [-1, 1])],
            FeatureShape = [1],
            Pipeline = new("ab", 3),
            Splits = new Dictionary<string, DatasetSplit> { ["train"] = new(5, [new("cd", 7, 5)], new("ef", 9, 5)) },
        };

        var bytes = manifest.ToBytes();

        Assert.Equal(bytes, DatasetManifest.Parse(bytes).ToBytes());
        Assert.Contains("\"format\":\"deepseek.dataset/1\"", Encoding.UTF8.GetString(bytes), StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => DatasetManifest.Parse("{\"format\":\"x\"}"u8));
        Assert.Throws<InvalidDataException>(() => DatasetManifest.Parse(Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes).Replace("dataset/1", "dataset/2", StringComparison.Ordinal))));
    }

    [Fact]
    public void Sample_Values_BecomeModelInputs()
    {
        var gzip = new MemoryStream();
        using (var writer = new StreamWriter(new GZipStream(gzip, CompressionLevel.Fastest, leaveOpen: true)))
        {
            writer.WriteLine("""{"inputs":{"a":1.5,"b":true,"t":"1970-01-02T00:00:00Z","c":null},"target":"x"}""");
        }

        gzip.Position = 0;
        var row = Assert.Single(SampleRows.Read(gzip));
        Assert.Equal(1.5, SampleRows.ToNumber(row.Inputs["a"], "numeric"));
        Assert.Equal(1, SampleRows.ToNumber(row.Inputs["b"], "boolean"));
        Assert.Equal(86400, SampleRows.ToNumber(row.Inputs["t"], "dateTime"));
        Assert.True(double.IsNaN(SampleRows.ToNumber(row.Inputs["c"], "numeric")));
        Assert.Equal("", SampleRows.ToText(row.Inputs["c"]));
        Assert.Throws<FormatException>(() => SampleRows.ToNumber(JsonElement.Parse("\"x\""), "numeric"));
        Assert.Throws<FormatException>(() => SampleRows.ToText(JsonElement.Parse("[1]")));
    }

    private static byte[] Shard()
    {
        var stream = new MemoryStream();
        using (var writer = new ShardWriter(stream))
        {
            writer.Write(new ShardBlock(NpyArray.Of<float>([1, 2, 3, 4], 2, 2), NpyArray.Of<long>([0, 1], 2)));
            writer.Write(new ShardBlock(NpyArray.Of<float>([5, 6], 1, 2), NpyArray.Of<long>([1], 1)));
            Assert.Equal(3, writer.Rows);
        }

        return stream.ToArray();
    }
}
