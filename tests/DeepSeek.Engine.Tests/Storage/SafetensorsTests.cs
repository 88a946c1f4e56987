using System.Buffers.Binary;
using System.Text;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Storage;

public sealed class SafetensorsTests
{
    [Fact]
    public void RoundTrip_AllTypes_KeepsBytesShapesAndMetadata()
    {
        using var floats = TensorHandle.From<float>([1.5f, float.NaN, -0f, float.MaxValue], 2, 2);
        using var longs = TensorHandle.From<long>([long.MinValue, 7], 2);
        using var bytes = TensorHandle.From<byte>([1, 2, 3], 3, 1);
        using var scalar = TensorHandle.From<double>([Math.PI], []);
        using var empty = TensorHandle.From<float>([], 0, 4);
        using var stream = new MemoryStream();

        Safetensors.Write(stream,
            [new("b", floats), new("a", longs), new("c", bytes), new("d", scalar), new("e", empty)], new Dictionary<string, string> { ["key"] = "väl\"ue" });
        using var read = Safetensors.Read(stream.ToArray());

        Assert.Equal("väl\"ue", read.Metadata["key"]);
        Assert.Equal(["a", "b", "c", "d", "e"], read.Tensors.Keys.Order());
        foreach (var (name, expected) in new[] { ("b", floats), ("a", longs), ("c", bytes), ("d", scalar), ("e", empty) })
        {
            Assert.Equal(expected.Tensor.Dtype, read.Tensors[name].Tensor.Dtype);
            Assert.Equal(expected.Tensor.Shape(), read.Tensors[name].Tensor.Shape());
            Assert.Equal(expected.Bytes().ToArray(), read.Tensors[name].Bytes().ToArray());
        }
    }

    [Fact]
    public void Write_KnownTensor_GivesTheFormatsBytes()
    {
        using var tensor = TensorHandle.From<float>([1, 2], 2);
        using var stream = new MemoryStream();

        Safetensors.Write(stream, [new NamedTensor("w", tensor)]);

        const string header = """{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  """;
        Assert.Equal([(byte)header.Length, 0, 0, 0, 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(header), 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40], stream.ToArray());
    }

    [Theory]
    [InlineData("{", 0, "header is not valid")]
    [InlineData("[]", 0, "header is not valid")]
    [InlineData("""{"w":5}""", 0, "header is not valid")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2]}}""", 8, "header is not valid")]
    [InlineData("""{"w":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}""", 8, "F33")]
    [InlineData("""{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "needs 12 bytes")]
    [InlineData("""{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "impossible shape")]
    [InlineData("""{"w":{"dtype":"F32","shape":[4000000000,4000000000],"data_offsets":[0,8]}}""", 8, "impossible shape")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}""", 8, "lies at bytes")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "lies at bytes")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "lies at bytes")]
    [InlineData("""{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "lies at bytes")]
    [InlineData("""{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 8, "behind its last tensor")]
    [InlineData("""{"w":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}""", 4, "17 dimensions")]
    public void Read_MalformedHeader_IsRefused(string header, int dataBytes, string because)
    {
        var file = new byte[8 + header.Length + dataBytes];
        BinaryPrimitives.WriteInt64LittleEndian(file, header.Length);
        Encoding.UTF8.GetBytes(header, file.AsSpan(8));

        Assert.Contains(because, Assert.Throws<InvalidDataException>(() => Safetensors.Read(file)).Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(8)]
    public void Read_CutOff_IsRefused(int length) => Assert.Throws<InvalidDataException>(() => Safetensors.Read(new byte[length] is { Length: 8 } eight ? Lengthy(eight) : new byte[length]));

    [Fact]
    public void AtomicFile_WriterFails_KeepsOldContentAndNoRemains()
    {
        var folder = Directory.CreateTempSubdirectory();
        var path = Path.Combine(folder.FullName, "file");
        AtomicFile.Write(path, s => s.Write("old"u8));

        Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(path, s =>
        {
            s.Write("new"u8);
            throw new InvalidOperationException();
        }));

        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(folder.GetFiles());
        folder.Delete(recursive: true);
    }

    private static byte[] Lengthy(byte[] file)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(file, ulong.MaxValue);
        return file;
    }
}
