using System.IO.Compression;

namespace DeepSeek.Data.Tests;

public sealed class NpzTests
{
    // numpy.savez_compressed(a=numpy.arange(6, dtype=numpy.float32).reshape(2, 3)), by NumPy's own header: version 1.0, padded to 64 bytes.
    private const string NumpysHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Read_WhatWasWritten_IsTheSame(bool compressed)
    {
        var arrays = new Dictionary<string, NpyArray>
        {
            ["weights"] = NpyArray.Of<float>([1, 2, 3, 4, 5, 6], 2, 3),
            ["half"] = NpyArray.Of<Half>([(Half)0.5, (Half)(-2)], 2),
            ["nested/count"] = NpyArray.Of<long>([7]),
        };
        using var stream = new MemoryStream();
        NpzArchive.Write(stream, arrays, compressed);
        stream.Position = 0;

        var read = NpzArchive.Read(stream);

        Assert.Equal(arrays.Keys.Order(), read.Keys.Order());
        Assert.Equal([2, 3], read["weights"].Shape);
        Assert.Equal([1, 2, 3, 4, 5, 6], read["weights"].As<float>().ToArray());
        Assert.Equal([(Half)0.5, (Half)(-2)], read["half"].As<Half>().ToArray());
        Assert.Empty(read["nested/count"].Shape);
        Assert.Equal(7, read["nested/count"].As<long>()[0]);
    }

    [Fact]
    public void Read_AsNumpyLaysItOut_GivesTheArray()
    {
        var header = NumpysHeader.PadRight(117) + "\n";
        byte[] npy = [0x93, .. "NUMPY"u8, 1, 0, 118, 0, .. System.Text.Encoding.ASCII.GetBytes(header), .. Enumerable.Range(0, 6).SelectMany(i => BitConverter.GetBytes((float)i))];

        var array = NpzArchive.Read(Zip("a.npy", npy))["a"];

        Assert.Equal([0, 1, 2, 3, 4, 5], array.As<float>().ToArray());
        Assert.Equal(npy, NpyArray.Of<float>([0, 1, 2, 3, 4, 5], 2, 3).ToBytes());
    }

    [Fact]
    public void Read_LargerThanTheLimit_IsRefused()
    {
        using var stream = new MemoryStream();
        NpzArchive.Write(stream, new Dictionary<string, NpyArray> { ["zeros"] = NpyArray.Of<byte>(new byte[100_000], 100_000) }, compressed: true);
        stream.Position = 0;

        Assert.True(stream.Length < 1000);
        Assert.Throws<InvalidDataException>(() => NpzArchive.Read(stream, maxBytes: 50_000));
    }

    [Fact]
    public void Read_OtherFiles_AreRefused()
    {
        Assert.Throws<InvalidDataException>(() => NpzArchive.Read(new MemoryStream([1, 2, 3])));
        Assert.Throws<InvalidDataException>(() => NpzArchive.Read(Zip("a.txt", [1])));
        Assert.Throws<InvalidDataException>(() => NpzArchive.Read(Zip("a.npy", [1])));
    }

    private static MemoryStream Zip(string name, byte[] bytes)
    {
        var stream = new MemoryStream();
        using (var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        using (var entry = archive.CreateEntry(name).Open())
        {
            entry.Write(bytes);
        }
        stream.Position = 0;
        return stream;
    }
}
