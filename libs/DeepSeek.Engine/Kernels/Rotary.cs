using DeepSeek.Engine.Export;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Rotary position embedding (Su et al., arXiv 2104.09864).</summary>
public static class Rotary
{
    private static readonly Operator s_rotary = new("deepseek::rotary");

    /// <summary>Turns pairs of features by the angle of their position.</summary>
    /// <param name="x">[.., positions, width], width even; float32, bfloat16 or float16.</param>
    /// <param name="cosine">[positions, width / 2], float32.</param>
    /// <param name="sine">[positions, width / 2], float32.</param>
    /// <param name="interleaved">Pairs (2i, 2i + 1); false: (i, i + width / 2).</param>
    public static Tensor Apply(Tensor x, Tensor cosine, Tensor sine, bool interleaved = false) => OperatorCall.To(s_rotary).Add(x).Add(cosine).Add(sine).Add(interleaved).One();

    /// <summary>Whether a net should turn tensors of x's type by this operator: it knows the type, and no export wants plain ones.</summary>
    public static bool Suits(Tensor x) => FusedNorm.Computes(x.Dtype) && !OperatorTrace.Recording;

    /// <summary>The tables for positions first … first + count − 1: angle position · base^(−2i / width), each [count, width / 2], on the CPU.</summary>
    public static (Tensor Cosine, Tensor Sine) Tables(long first, int count, int width, double @base = 10_000)
    {
        var half = width / 2;
        var (cosine, sine) = (new float[count * half], new float[count * half]);
        for (var i = 0; i < cosine.Length; i++)
        {
            (var s, var c) = Math.SinCos((first + i / half) * Math.Pow(@base, -2.0 * (i % half) / width));
            (cosine[i], sine[i]) = ((float)c, (float)s);
        }
        return (Tensor.From<float>(cosine, count, half), Tensor.From<float>(sine, count, half));
    }
}
