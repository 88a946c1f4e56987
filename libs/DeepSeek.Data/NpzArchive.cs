using System.IO.Compression;

namespace DeepSeek.Data;

/// <summary>Named arrays in NumPy's .npz format: a zip of .npy files, as numpy.savez and savez_compressed write and numpy.load reads them.</summary>
public static class NpzArchive
{
    private const string Extension = ".npy";

    /// <summary>Writes arrays in the order of their names; equal arrays give equal bytes.</summary>
    public static void Write(Stream stream, IReadOnlyDictionary<string, NpyArray> arrays, bool compressed = false)
    {
        using var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true);
        foreach (var (name, array) in arrays.OrderBy(a => a.Key, StringComparer.Ordinal))
        {
            var entry = archive.CreateEntry(name + Extension, compressed ? CompressionLevel.Optimal : CompressionLevel.NoCompression);
            entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
            using var data = entry.Open();
            data.Write(array.ToBytes());
        }
    }

    /// <summary>Reads all arrays.</summary>
    /// <param name="maxBytes">Most bytes of all arrays together once unpacked: a small zip can hold very many.</param>
    /// <exception cref="InvalidDataException">It is no zip, an entry is no array that can be read, or they are larger than the limit.</exception>
    public static IReadOnlyDictionary<string, NpyArray> Read(Stream stream, long maxBytes = 1L << 31)
    {
        using var archive = new ZipArchive(stream, ZipArchiveMode.Read, leaveOpen: true);
        var arrays = new Dictionary<string, NpyArray>(StringComparer.Ordinal);
        foreach (var entry in archive.Entries)
        {
            maxBytes -= entry.Length;
            if (maxBytes < 0 || entry.Length > Array.MaxLength)
            {
                throw new InvalidDataException($"The .npz archive's arrays are larger than the limit, at '{entry.FullName}'.");
            }
            if (!entry.FullName.EndsWith(Extension, StringComparison.Ordinal))
            {
                throw new InvalidDataException($"The .npz archive holds '{entry.FullName}', which is no .npy array.");
            }
            var bytes = new byte[entry.Length];
            using var data = entry.Open();
            // The directory may lie about the length: what is read is what was allowed, and no more is there.
            data.ReadExactly(bytes);
            if (data.ReadByte() >= 0 || !arrays.TryAdd(entry.FullName[..^Extension.Length], NpyArray.Parse(bytes)))
            {
                throw new InvalidDataException($"The .npz archive's entry '{entry.FullName}' is longer than it says, or there twice.");
            }
        }
        return arrays;
    }
}
