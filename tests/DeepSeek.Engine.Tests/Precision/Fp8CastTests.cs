using DeepSeek.Engine.Data;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Precision;

/// <summary>Casts to eight bits against the formats' definition in double precision: no tolerance anywhere.</summary>
public sealed class Fp8CastTests
{
    public static TheoryData<Fp8Format, int> Cases()
    {
        var cases = new TheoryData<Fp8Format, int>();
        foreach (var format in Enum.GetValues<Fp8Format>())
        {
            foreach (var set in Enum.GetValues<InstructionSet>())
            {
                cases.Add(format, (int)set);
            }
        }
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Decode_AllCodes_GivesTheFormatsNumbers(Fp8Format format, int set)
    {
        using var limit = new Limited(set);
        using var scope = TensorScope.Open();

        var values = Fp8.Decode(Tensor.From<byte>([.. AllCodes()], 256), Tensor.Scalar(1), format).ToArray<float>();

        Assert.Equal(AllCodes().Select(c => (float)Value(c, format)), values);
        Assert.Equal(format == Fp8Format.E4M3 ? 448 : 57344, Fp8.Largest(format));
        Assert.Equal(Fp8.Largest(format), values.Where(float.IsFinite).Max());
        Assert.Equal(Fp8.Least(format), values.Where(v => v > 0).Min());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Encode_NumbersOfTheFormat_GivesTheirCodes(Fp8Format format, int set)
    {
        using var limit = new Limited(set);
        using var scope = TensorScope.Open();
        byte[] finite = [.. AllCodes().Where(c => double.IsFinite(Value(c, format)))];

        var codes = Fp8.Encode(Tensor.From<float>([.. finite.Select(c => (float)Value(c, format))], finite.Length), Tensor.Scalar(1), format).Codes;

        Assert.Equal(finite, codes.ToArray<byte>());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Encode_AroundEveryMidpoint_RoundsToNearestTiesToEven(Fp8Format format, int set)
    {
        using var limit = new Limited(set);
        double[] positive = [.. Enumerable.Range(0, 128).Select(c => Value((byte)c, format)).Where(double.IsFinite)];
        var x = new List<float>();
        for (var i = 1; i < positive.Length; i++)
        {
            var middle = (float)((positive[i - 1] + positive[i]) / 2); // exact: two more bits than the format's
            x.AddRange([middle, MathF.BitIncrement(middle), MathF.BitDecrement(middle), -middle, -MathF.BitIncrement(middle), -MathF.BitDecrement(middle)]);
        }
        AssertCodes(x, format, Dtype.Float32);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Encode_BeyondTheEnds_SaturatesAndKeepsNan(Fp8Format format, int set)
    {
        using var limit = new Limited(set);
        var largest = (float)Fp8.Largest(format);
        AssertCodes([0, -0f, float.Epsilon, -float.Epsilon, 1e-38f, largest, MathF.BitIncrement(largest), largest * 1.0625f, largest * 1.125f, 2 * largest, float.MaxValue, float.MinValue,
            float.PositiveInfinity, float.NegativeInfinity], format, Dtype.Float32);
        using var scope = TensorScope.Open();

        var (codes, amax) = Fp8.Encode(Tensor.From<float>([float.NaN, -float.NaN, float.PositiveInfinity, 3], 4), Tensor.Scalar(1), format);

        Assert.All(Fp8.Decode(codes, Tensor.Scalar(1), format).ToArray<float>()[..2], v => Assert.True(float.IsNaN(v)));
        Assert.Equal(3, amax.Item()); // of what is finite
    }

    [Theory]
    [InlineData(Fp8Format.E4M3)]
    [InlineData(Fp8Format.E5M2)]
    public void Encode_AnyFloats_GivesTheNearestNumber(Fp8Format format) =>
        Prop.ForAll(Gen.Choose(0, int.MaxValue).NonEmptyListOf().ToArbitrary(), bits =>
            AssertCodes([.. bits.Select(b => BitConverter.Int32BitsToSingle(b)).Where(float.IsFinite)], format, Dtype.Float32)).Holds(300);

    [Theory]
    [InlineData(Dtype.BFloat16)]
    [InlineData(Dtype.Float16)]
    public void Encode_HalfPrecision_RoundsItsOwnValues(Dtype dtype)
    {
        float[] x = [.. Enumerable.Range(-600, 1201).Select(i => i * 0.37f)];
        AssertCodes(x, Fp8Format.E4M3, dtype);
        AssertCodes(x, Fp8Format.E5M2, dtype);
    }

    [Fact]
    public void Rescale_Maxima_GivesThePowerOfTwoThatTheHistoryAllows()
    {
        using var scope = TensorScope.Open();
        var (history, scale) = (Tensor.From<float>([0, 0, 0], 3), Tensor.From<float>([1], 1));
        float[] given = [3, 100, 0.5f, 0.25f, 0.25f];
        double[] expected = [128, 4, 4, 4, 512]; // 448/3 → 2⁷, 448/100 → 2² while 100 is among the last three, then 448/0.5 → 2⁹

        for (var i = 0; i < given.Length; i++)
        {
            Fp8.Rescale(history, scale, Tensor.From<float>([given[i]], 1), Fp8Format.E4M3);
            Assert.Equal(expected[i], scale.Item());
        }
        Assert.Equal([0.5f, 0.25f, 0.25f], history.ToArray<float>());
    }

    [Fact]
    public void Rescale_MaximumAtAndBesideAPowerOfTwo_KeepsItInsideTheFormat()
    {
        using var scope = TensorScope.Open();
        foreach (var (most, expected) in new[] { (448f, 1.0), (MathF.BitIncrement(448), 0.5), (MathF.BitDecrement(448), 1), (7, 64), (MathF.BitIncrement(7), 32) })
        {
            var (history, scale) = (Tensor.From<float>([0], 1), Tensor.From<float>([1], 1));
            Fp8.Rescale(history, scale, Tensor.From<float>([most], 1), Fp8Format.E4M3);
            Assert.Equal(expected, scale.Item());
        }
    }

    /// <summary>The one-pass cast against its parts: same codes, turned and not, same scales; matrices as they lie and turned views.</summary>
    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Cast_Matrix_GivesItsPartsResults(string on)
    {
        var device = Device.Parse(on);
        foreach (var (rows, columns, dtype) in new[] { (48, 160, Dtype.BFloat16), (128, 256, Dtype.Float32), (16, 16, Dtype.Float16), (7, 5, Dtype.Float32), (272, 144, Dtype.BFloat16) })
        {
            using var scope = TensorScope.Open();
            var random = new SeededRandom(rows, columns);
            var x = Tensor.From<float>([.. Enumerable.Range(0, rows * columns).Select(_ => (random.Below(20001) - 10000) / 100f)], rows, columns).To(dtype).To(device);
            foreach (var (matrix, turned) in new[] { (x, false), (x.Transpose(0, 1), true) })
            {
                var (history, scale) = (Tensor.From<float>([1, 200], 2).To(device), Tensor.From<float>([4], 1).To(device));
                var (plainHistory, plainScale) = (history * 1.0, scale * 1.0);
                var (codes, amax) = Fp8.Encode(matrix, plainScale, Fp8Format.E5M2);
                Fp8.Rescale(plainHistory, plainScale, amax, Fp8Format.E5M2, 1);

                var cast = Fp8.Cast(matrix, history, scale, Fp8Format.E5M2, 1);

                Assert.Equal(Bytes(codes), Bytes(cast.Codes));
                Assert.Equal(Bytes(codes.Transpose(0, 1)), Bytes(cast.Turned));
                Assert.Equal([4, 0.25], [cast.Scale.Item(), cast.Inverse.Item()]);
                Assert.Equal((plainScale.Item(), 200.0, amax.Item()), (scale.Item(), history.Narrow(0, 0, 1).Item(), history.Narrow(0, 1, 1).Item()));
            }
        }

        static byte[] Bytes(Tensor codes) => codes.To(Device.Cpu).Reshape(-1).ToArray<byte>();
    }

    /// <summary>Every bfloat16 number on the GPU against the CPU, by whole vectors and one at a time; of NaN only that it is one.</summary>
    [Theory]
    [InlineData(Fp8Format.E4M3)]
    [InlineData(Fp8Format.E5M2)]
    public void Encode_OnAGpu_GivesTheCpusCodes(Fp8Format format)
    {
        Gpu.Require();
        using var scope = TensorScope.Open();
        var all = Tensor.From<float>([.. Enumerable.Range(0, 65536).Select(i => BitConverter.Int32BitsToSingle(i << 16))], 65536).To(Dtype.BFloat16);
        foreach (var count in new[] { 65536, 65531 })
        {
            var x = all.Narrow(0, 0, count);
            var (here, most) = Fp8.Encode(x, Tensor.Scalar(1), format);
            var (there, same) = Fp8.Encode(x.To(Device.Cuda()), Tensor.Scalar(1).To(Device.Cuda()), format);

            Assert.Equal(most.Item(), same.Item());
            Assert.Equal(Numbers(here), Numbers(there.To(Device.Cpu)));
        }

        string[] Numbers(Tensor codes) => [.. Fp8.Decode(codes, Tensor.Scalar(1), format).ToArray<float>().Select(v => float.IsNaN(v) ? "NaN" : BitConverter.SingleToInt32Bits(v).ToString("x8"))];
    }

    [Fact]
    public void Range_OnAGpu_CountsAsTheCpu()
    {
        Gpu.Require();
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>([.. Enumerable.Range(0, 100_003).Select(i => i % 1000 == 0 ? float.NaN : i % 7 == 0 ? 0 : (i - 50_000) * 1e-3f)], 100_003);

        Assert.Equal(Fp8.Range(x, [1e-2, 3], [40, 45]).ToArray<double>(), Fp8.Range(x.To(Device.Cuda()), [1e-2, 3], [40, 45]).To(Device.Cpu).ToArray<double>());
    }

    [Fact]
    public void Rescale_HistoryOfZeros_LeavesTheScale()
    {
        using var scope = TensorScope.Open();
        var (history, scale) = (Tensor.From<float>([0, 0], 2), Tensor.From<float>([16], 1));

        Fp8.Rescale(history, scale, Tensor.From<float>([0], 1), Fp8Format.E5M2);

        Assert.Equal(16, scale.Item());
    }

    [Fact]
    public void Range_MixedValues_CountsThem()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>([0, 1, -2, 1e-6f, -1e-3f, 300, float.NaN, float.NegativeInfinity], 2, 4);

        var seen = Fp8.Range(x, [1e-5, 0.5], [100, 1.5]).ToArray<double>();

        Assert.Equal([300, 5, 2, 1, 1, 2, 2], seen);
    }

    private static void AssertCodes(IReadOnlyList<float> x, Fp8Format format, Dtype dtype)
    {
        if (x.Count == 0)
        {
            return;
        }
        using var scope = TensorScope.Open();
        var given = Tensor.From<float>([.. x], x.Count).To(dtype);
        var decoded = Fp8.Decode(Fp8.Encode(given, Tensor.Scalar(1), format).Codes, Tensor.Scalar(1), format).ToArray<float>();
        var rounded = given.To(Dtype.Float32).ToArray<float>();
        Assert.Equal(rounded.Select(v => (float)Nearest(v, format)), decoded);
    }

    // By search among all numbers: the nearest, of two the one with the even code; the sign of 0 is kept.
    private static double Nearest(double x, Fp8Format format)
    {
        var magnitude = Math.Min(Math.Abs(x), Fp8.Largest(format));
        var code = Enumerable.Range(0, 128).Where(c => double.IsFinite(Value((byte)c, format))).OrderBy(c => Math.Abs(Value((byte)c, format) - magnitude)).ThenBy(c => c % 2).First();
        return Math.CopySign(Value((byte)code, format), x);
    }

    private static double Value(byte code, Fp8Format format)
    {
        var (fractionBits, bias) = format == Fp8Format.E4M3 ? (3, 7) : (2, 15);
        var (exponent, fraction) = ((code & 127) >> fractionBits, code & ((1 << fractionBits) - 1));
        var sign = code > 127 ? -1.0 : 1.0;
        if (format == Fp8Format.E4M3 ? (code & 127) == 127 : exponent == 31)
        {
            return format == Fp8Format.E5M2 && fraction == 0 ? sign * double.PositiveInfinity : double.NaN;
        }
        return sign * (exponent == 0
            ? fraction * Math.Pow(2, 1 - bias - fractionBits)
            : (1 + fraction / Math.Pow(2, fractionBits)) * Math.Pow(2, exponent - bias));
    }

    private static IEnumerable<byte> AllCodes() => Enumerable.Range(0, 256).Select(c => (byte)c);

    private sealed class Limited(int set) : IDisposable
    {
        private readonly InstructionSet _before = CpuKernels.Limit((InstructionSet)set);

        public void Dispose() => CpuKernels.Limit(_before);
    }
}
