using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>Inputs and comparisons shared by the tests of the kernels.</summary>
internal static class KernelData
{
    /// <summary>Runs a test once for every instruction set that this processor has.</summary>
    internal static void OnEachInstructionSet(Action<InstructionSet> test)
    {
        var best = CpuKernels.Limit(InstructionSet.Avx512);
        try
        {
            for (var set = InstructionSet.Portable; set <= best; set++)
            {
                CpuKernels.Limit(set);
                test(set);
            }
        }
        finally
        {
            CpuKernels.Limit(InstructionSet.Avx512);
        }
    }

    /// <summary>Repeatable values, about normal.</summary>
    internal static float[] Normal(int seed, long count)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (var i = 0L; i < count; i++)
        {
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }
        return values;
    }

    internal static double[] Doubles(Tensor tensor) => tensor.To(Dtype.Float64).Reshape(-1).ToArray<double>();

    /// <summary>The values as they are after rounding to an element type.</summary>
    internal static double[] Rounded(float[] values, Dtype dtype)
    {
        using var scope = TensorScope.Open();
        return Doubles(Tensor.From<float>(values, values.Length).To(dtype));
    }

    internal static void Near(ReadOnlySpan<double> expected, ReadOnlySpan<double> actual, double absolute, double relative, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
        {
            var allowed = absolute + relative * Math.Abs(expected[i]);
            Assert.True(Math.Abs(expected[i] - actual[i]) <= allowed, $"{what}[{i}]: {actual[i]:r}, expected {expected[i]:r} within {allowed:g3}");
        }
    }

    /// <summary>The gradient of a loss that reads x, by central differences; in float64 good to about 1e-9 for losses of a few units.</summary>
    internal static double[] Differences(double[] x, Func<double> loss)
    {
        const double step = 1e-5;
        var result = new double[x.Length];
        for (var i = 0; i < x.Length; i++)
        {
            var kept = x[i];
            x[i] = kept + step;
            var above = loss();
            x[i] = kept - step;
            result[i] = (above - loss()) / (2 * step);
            x[i] = kept;
        }
        return result;
    }
}
