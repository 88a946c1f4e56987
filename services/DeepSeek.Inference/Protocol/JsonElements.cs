using System.Numerics;
using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>How one element of a datatype is read from JSON. A value that does not fit gives false, never a rounded neighbour.</summary>
internal interface IJsonElement<T>
{
    static abstract string Wanted { get; }

    static abstract bool TryRead(ref Utf8JsonReader reader, out T value);
}

internal readonly struct BoolElement : IJsonElement<byte>
{
    public static string Wanted => "true or false";

    public static bool TryRead(ref Utf8JsonReader reader, out byte value)
    {
        value = reader.TokenType == JsonTokenType.True ? (byte)1 : (byte)0;
        return reader.TokenType is JsonTokenType.True or JsonTokenType.False;
    }
}

/// <summary>Any integer; the type is known when the code is compiled, so there is nothing left of the generality when it runs.</summary>
internal readonly struct IntegerElement<T> : IJsonElement<T>
    where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
{
    private static readonly int s_bits = T.Zero.GetByteCount() * 8;

    public static string Wanted => s_bits <= 16
        ? $"an integer from {T.MinValue} to {T.MaxValue}"
        : $"an {(T.MinValue == T.Zero ? "unsigned " : "")}integer of {s_bits} bits";

    public static bool TryRead(ref Utf8JsonReader reader, out T value)
    {
        value = T.Zero;
        if (reader.TokenType != JsonTokenType.Number)
        {
            return false;
        }

        if (typeof(T) == typeof(ulong))
        {
            var fits = reader.TryGetUInt64(out var natural);
            value = T.CreateTruncating(natural);
            return fits;
        }

        var read = reader.TryGetInt64(out var number);
        value = T.CreateTruncating(number);
        return read && number >= long.CreateTruncating(T.MinValue) && number <= long.CreateTruncating(T.MaxValue);
    }
}

internal readonly struct Fp64Element : IJsonElement<double>
{
    public static string Wanted => "a number within a double's range, or \"NaN\", \"Infinity\", \"-Infinity\"";

    public static bool TryRead(ref Utf8JsonReader reader, out double value)
    {
        value = 0;
        return reader.TokenType == JsonTokenType.Number
            ? reader.TryGetDouble(out value) && double.IsFinite(value)
            : NamedNumbers.TryRead(ref reader, out value);
    }
}

internal readonly struct Fp32Element : IJsonElement<float>
{
    public static string Wanted => "a number within a float's range, or \"NaN\", \"Infinity\", \"-Infinity\"";

    public static bool TryRead(ref Utf8JsonReader reader, out float value)
    {
        value = 0;
        if (reader.TokenType == JsonTokenType.Number)
        {
            return reader.TryGetSingle(out value) && float.IsFinite(value);
        }

        var named = NamedNumbers.TryRead(ref reader, out var wide);
        value = (float)wide;
        return named;
    }
}

internal readonly struct Fp16Element : IJsonElement<Half>
{
    public static string Wanted => "a number from -65504 to 65504, or \"NaN\", \"Infinity\", \"-Infinity\"";

    public static bool TryRead(ref Utf8JsonReader reader, out Half value)
    {
        var read = Fp64Element.TryRead(ref reader, out var wide);
        value = (Half)wide;
        return read && Half.IsInfinity(value) == double.IsInfinity(wide);
    }
}

internal readonly struct Bf16Element : IJsonElement<ushort>
{
    public static string Wanted => "a number within a bfloat16's range, or \"NaN\", \"Infinity\", \"-Infinity\"";

    public static bool TryRead(ref Utf8JsonReader reader, out ushort value)
    {
        var read = Fp32Element.TryRead(ref reader, out var wide);
        value = BFloat16Bits.From(wide);
        return read && float.IsInfinity(BFloat16Bits.ToSingle(value)) == float.IsInfinity(wide);
    }
}

/// <summary>bfloat16 is the upper half of a float; rounding is to nearest, ties to even.</summary>
internal static class BFloat16Bits
{
    public static ushort From(float value)
    {
        if (float.IsNaN(value))
        {
            return 0x7FC0;
        }

        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    public static float ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}

/// <summary>JSON has no literal for these three; the protocol leaves them open, we take and give them as strings.</summary>
internal static class NamedNumbers
{
    public const string NaN = "NaN";
    public const string Infinity = "Infinity";
    public const string NegativeInfinity = "-Infinity";

    public static bool TryRead(ref Utf8JsonReader reader, out double value)
    {
        value = 0;
        if (reader.TokenType != JsonTokenType.String)
        {
            return false;
        }

        if (reader.ValueTextEquals(NaN))
        {
            value = double.NaN;
        }
        else if (reader.ValueTextEquals(Infinity))
        {
            value = double.PositiveInfinity;
        }
        else if (reader.ValueTextEquals(NegativeInfinity))
        {
            value = double.NegativeInfinity;
        }
        else
        {
            return false;
        }

        return true;
    }

    public static string Name(double value) =>
        double.IsNaN(value) ? NaN : value > 0 ? Infinity : NegativeInfinity;
}
