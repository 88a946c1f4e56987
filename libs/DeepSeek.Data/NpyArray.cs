using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace DeepSeek.Data;

/// <summary>An array in NumPy's .npy format (version 1.0 written; 1.0 to 3.0 read), C order, little-endian.</summary>
/// <param name="Descriptor">NumPy's type: <c>&lt;f4</c>, <c>&lt;f8</c>, <c>&lt;i8</c>, <c>&lt;i4</c>, <c>&lt;f2</c>, <c>&lt;i2</c>, <c>|u1</c>, <c>|i1</c>, <c>|b1</c>.</param>
/// <param name="Shape">Length of each dimension.</param>
/// <param name="Data">The elements, row-major.</param>
public sealed partial record NpyArray(string Descriptor, int[] Shape, byte[] Data)
{
    private const int MaxHeader = 64 * 1024;
    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>An array over the bytes of <paramref name="elements"/>.</summary>
    public static NpyArray Of<T>(ReadOnlySpan<T> elements, params int[] shape) where T : unmanaged =>
        new(DescriptorOf<T>(), shape, MemoryMarshal.AsBytes(elements).ToArray());

    /// <summary>The elements as numbers of type <typeparamref name="T"/>.</summary>
    /// <exception cref="InvalidDataException">The array holds another type.</exception>
    public ReadOnlySpan<T> As<T>() where T : unmanaged => DescriptorOf<T>() == Descriptor
        ? MemoryMarshal.Cast<byte, T>(Data)
        : throw new InvalidDataException($"The array holds '{Descriptor}', not '{DescriptorOf<T>()}'.");

    /// <summary>Reads one array that fills <paramref name="bytes"/> to its end.</summary>
    /// <exception cref="InvalidDataException">The bytes are no such array, or more or fewer than its shape says.</exception>
    public static NpyArray Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 10 || !bytes.StartsWith(Magic))
        {
            throw new InvalidDataException("Not a .npy array: the magic bytes are missing.");
        }

        var wide = bytes[6] >= 2;
        var start = wide ? 12 : 10;
        long length = wide && bytes.Length >= 12 ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]);
        if (bytes[6] is 0 or > 3 || length > MaxHeader || start + length > bytes.Length)
        {
            throw new InvalidDataException("Not a .npy array: the header is of an unknown version or longer than the data.");
        }

        var header = Encoding.UTF8.GetString(bytes.Slice(start, (int)length));
        var descriptor = Descr().Match(header);
        var shape = ShapeTuple().Match(header);
        if (!descriptor.Success || !shape.Success || !FortranFalse().IsMatch(header))
        {
            throw new InvalidDataException($"Not a .npy array that can be read here (C order, plain type): {header.Trim()}");
        }

        int[] dimensions;
        long expected = SizeOf(descriptor.Groups[1].Value);
        try
        {
            dimensions = [.. shape.Groups[1].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(text => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture))];
            expected = dimensions.Aggregate(expected, (product, dimension) => checked(product * dimension));
        }
        catch (Exception fault) when (fault is FormatException or OverflowException)
        {
            throw new InvalidDataException($"The .npy array's shape ({shape.Groups[1].Value}) is not valid.", fault);
        }

        var data = bytes[(start + (int)length)..];
        return data.Length == expected
            ? new NpyArray(descriptor.Groups[1].Value, dimensions, data.ToArray())
            : throw new InvalidDataException($"The .npy array of shape ({shape.Groups[1].Value}) and type '{descriptor.Groups[1].Value}' wants {expected} bytes and has {data.Length}.");
    }

    /// <summary>The file's bytes: header, padded to 64 bytes, and data.</summary>
    public byte[] ToBytes()
    {
        var tuple = Shape.Length == 1 ? $"({Shape[0]},)" : $"({string.Join(", ", Shape)})";
        var text = $"{{'descr': '{Descriptor}', 'fortran_order': False, 'shape': {tuple}, }}";
        var length = (10 + text.Length + 1 + 63) / 64 * 64 - 10;
        var bytes = new byte[10 + length + Data.Length];
        Magic.CopyTo(bytes);
        bytes[6] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), (ushort)length);
        Encoding.ASCII.GetBytes(text.PadRight(length - 1) + "\n", bytes.AsSpan(10));
        Data.CopyTo(bytes.AsSpan(10 + length));
        return bytes;
    }

    private static string DescriptorOf<T>() => typeof(T) switch
    {
        var t when t == typeof(float) => "<f4",
        var t when t == typeof(double) => "<f8",
        var t when t == typeof(long) => "<i8",
        var t when t == typeof(int) => "<i4",
        var t when t == typeof(short) => "<i2",
        var t when t == typeof(Half) => "<f2",
        var t when t == typeof(byte) => "|u1",
        var t when t == typeof(sbyte) => "|i1",
        var t when t == typeof(bool) => "|b1",
        var t => throw new NotSupportedException($"No .npy type for {t}."),
    };

    private static int SizeOf(string descriptor) => descriptor switch
    {
        "<f8" or "<i8" => 8,
        "<f4" or "<i4" => 4,
        "<f2" or "<i2" => 2,
        "|u1" or "|i1" or "|b1" => 1,
        _ => throw new InvalidDataException($"The .npy type '{descriptor}' is not supported; supported are <f2, <f4, <f8, <i2, <i4, <i8, |u1, |i1, |b1."),
    };

    [GeneratedRegex(@"'descr'\s*:\s*'([^']+)'")]
    private static partial Regex Descr();

    [GeneratedRegex(@"'fortran_order'\s*:\s*False")]
    private static partial Regex FortranFalse();

    [GeneratedRegex(@"'shape'\s*:\s*\(([0-9,\s]*)\)")]
    private static partial Regex ShapeTuple();
}
