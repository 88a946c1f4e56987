using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>Eight-bit floats (Micikevicius et al., arXiv 2209.05433, table 1).</summary>
public enum Fp8Format
{
    /// <summary>Four bits of exponent, three of fraction; largest 448, least 2⁻⁹. For weights and activations.</summary>
    E4M3 = 0,
    /// <summary>Five bits of exponent, two of fraction; largest 57344, least 2⁻¹⁶. For gradients.</summary>
    E5M2 = 1,
}

/// <summary>Casts between floats and eight-bit codes (uint8) under one scale a tensor.</summary>
public static class Fp8
{
    // The matrix cores take sizes in multiples of this.
    private const long Multiple = 16;

    private static readonly Operator s_encode = new("deepseek::fp8_encode");
    private static readonly Operator s_decode = new("deepseek::fp8_decode");
    private static readonly Operator s_rescale = new("deepseek::fp8_rescale_");
    private static readonly Operator s_range = new("deepseek::fp8_range");
    private static readonly Operator s_scaledCast = new("deepseek::fp8_scaled_cast");

    /// <summary>The largest number of a format.</summary>
    public static double Largest(Fp8Format format) => format == Fp8Format.E4M3 ? 448 : 57344;

    /// <summary>The least number above 0 of a format.</summary>
    public static double Least(Fp8Format format) => format == Fp8Format.E4M3 ? 1.0 / 512 : 1.0 / 65536;

    /// <summary>Codes of x · scale, rounded to nearest, ties to even, and saturated; and the largest finite |x|, float32 [1]. The scale is float32, one element.</summary>
    public static (Tensor Codes, Tensor Amax) Encode(Tensor x, Tensor scale, Fp8Format format) => OperatorCall.To(s_encode).Add(x).Add(scale).Add((long)format).Two();

    /// <summary>What codes stand for, divided by the scale.</summary>
    public static Tensor Decode(Tensor codes, Tensor scale, Fp8Format format, Dtype dtype = Dtype.Float32) => OperatorCall.To(s_decode).Add(codes).Add(scale).Add((long)format).Add(dtype).One();

    /// <summary>
    /// Delayed scaling: the newest maximum takes the oldest one's place in the history, and the scale becomes the largest power of two
    /// under which the history's maximum is at most the format's largest number / 2^margin. Nothing waits for the device.
    /// </summary>
    public static void Rescale(Tensor history, Tensor scale, Tensor amax, Fp8Format format, int margin = 0) =>
        OperatorCall.To(s_rescale).Add(history).Add(scale).Add(amax).Add(Largest(format)).Add((long)margin).Many([]);

    /// <summary>
    /// float64 [3 + 2·n]: largest finite magnitude, finite elements that are not 0, elements that are not finite; then for each pair
    /// of bounds the non-zero elements below its floor and those above its ceiling. At most four pairs.
    /// </summary>
    public static Tensor Range(Tensor x, ReadOnlySpan<double> floors, ReadOnlySpan<double> ceilings) => OperatorCall.To(s_range).Add(x).Add(floors).Add(ceilings).One();

    /// <summary>Why a device multiplies no eight-bit floats, or null where it does.</summary>
    public static string? Missing(Device device)
    {
        if (!device.IsCuda)
        {
            return "the CPU multiplies no FP8 numbers";
        }
        var info = CudaDevice.Info(Math.Max(0, device.Index));
        return info.Capability < new Version(8, 9) ? $"{info.Name} has compute capability {info.Capability}; FP8 begins at 8.9"
            : null;
    }

    /// <summary>Whether the matrix cores take a product of these sizes: all are multiples of 16.</summary>
    public static bool Fits(long rows, long inputs, long outputs) => rows % Multiple == 0 && inputs % Multiple == 0 && outputs % Multiple == 0;

    /// <summary>
    /// A matrix's codes as it lies and turned, under the scale as it was before; the scale then follows the matrix as
    /// <see cref="Rescale"/> tells. One pass over the matrix on a GPU.
    /// </summary>
    internal static Fp8Tensor Cast(Tensor x, Tensor history, Tensor scale, Fp8Format format, int margin)
    {
        Span<Tensor> parts = [default, default, default, default];
        OperatorCall.To(s_scaledCast).Add(x).Add(history).Add(scale).Add((long)format).Add(Largest(format)).Add((long)margin).Many(parts);
        return new Fp8Tensor(parts[0], parts[1], parts[2], parts[3], format);
    }
}

/// <summary>Codes [M, K] of a matrix and [K, M] of the same turned, with the scale they were made under and its inverse.</summary>
internal readonly record struct Fp8Tensor(Tensor Codes, Tensor Turned, Tensor Scale, Tensor Inverse, Fp8Format Format);
