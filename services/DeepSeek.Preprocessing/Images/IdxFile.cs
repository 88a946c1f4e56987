using System.Buffers.Binary;
using System.IO.Compression;

namespace DeepSeek.Preprocessing.Images;

/// <summary>One file of LeCun's IDX format, plain or gzip: images (ubyte, 3 dimensions) or labels (ubyte, 1 dimension).</summary>
/// <param name="File">Name in the spool folder.</param>
/// <param name="Name">As uploaded.</param>
/// <param name="Gzip">Compressed.</param>
/// <param name="Dimensions">[N] or [N, H, W].</param>
internal sealed record IdxFile(string File, string Name, bool Gzip, IReadOnlyList<int> Dimensions)
{
    private const int MaxSide = 4096;
    private const byte UnsignedByte = 0x08;

    public bool IsImages => Dimensions.Count == 3;

    public int Count => Dimensions[0];

    public long DataBytes => Dimensions.Aggregate(1L, (product, d) => product * d);

    /// <summary>t10k and test in the name mark the official test part.</summary>
    public bool IsTest => Name.Contains("t10k", StringComparison.OrdinalIgnoreCase) || Name.Contains("test", StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads the header and counts the bytes behind it, without trusting either.</summary>
    public static IdxFile Inspect(string path, string name, long maxBytes)
    {
        var gzip = IsGzip(path);
        try
        {
            using var stream = Open(path, gzip);
            var file = new IdxFile(Path.GetFileName(path), name, gzip, Header(stream, name));
            if (file.DataBytes > maxBytes)
            {
                throw Fault(name, $"holds {file.DataBytes:N0} bytes of data; at most {maxBytes:N0} are read.");
            }
            var buffer = new byte[1 << 16];
            long seen = 0;
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                seen += read;
                if (seen > file.DataBytes)
                {
                    throw Fault(name, $"goes on behind the {file.DataBytes:N0} bytes its header announces.");
                }
            }
            return seen == file.DataBytes ? file : throw Fault(name, $"is cut off: its header announces {file.DataBytes:N0} bytes and {seen:N0} are there.");
        }
        catch (Exception fault) when (fault is InvalidDataException or EndOfStreamException)
        {
            throw Fault(name, gzip ? "is a damaged gzip file." : "is shorter than an IDX header.");
        }
    }

    /// <summary>A stream at the first byte of data.</summary>
    public Stream OpenData(string directory)
    {
        var stream = Open(Path.Combine(directory, File), Gzip);
        Header(stream, Name);
        return stream;
    }

    private static int[] Header(Stream stream, string name)
    {
        Span<byte> magic = stackalloc byte[4];
        stream.ReadExactly(magic);
        if (magic[0] != 0 || magic[1] != 0)
        {
            throw Fault(name, "is not an IDX file: it does not begin with two zero bytes.");
        }
        if (magic[2] != UnsignedByte || magic[3] is not (1 or 3))
        {
            throw Fault(name, $"has IDX type 0x{magic[2]:X2} with {magic[3]} dimensions; read are unsigned bytes (0x08) with 3 (images) or 1 (labels).");
        }
        var dimensions = new int[magic[3]];
        Span<byte> number = stackalloc byte[4];
        for (var i = 0; i < dimensions.Length; i++)
        {
            stream.ReadExactly(number);
            var size = BinaryPrimitives.ReadUInt32BigEndian(number);
            var most = i == 0 ? int.MaxValue : MaxSide;
            dimensions[i] = size >= 1 && size <= most
                ? (int)size
                : throw Fault(name, $"announces {size} for dimension {i + 1}; it must lie between 1 and {most}.");
        }
        return dimensions;
    }

    private static Stream Open(string path, bool gzip)
    {
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
        return gzip ? new GZipStream(file, CompressionMode.Decompress) : file;
    }

    private static bool IsGzip(string path)
    {
        using var file = System.IO.File.OpenRead(path);
        return file.ReadByte() == 0x1F && file.ReadByte() == 0x8B;
    }

    private static DataFault Fault(string name, string what) => new("file", $"'{DataFault.Shown(name)}' {what}");
}
