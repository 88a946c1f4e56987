using System.Diagnostics;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>Times a linear layer, forward and backward, in half precision and in FP8 on a device.</summary>
public static class PrecisionProbe
{
    private const int Warm = 3;
    private const int Rounds = 5;
    private const int Passes = 8;

    /// <summary>
    /// Time in half precision over time in FP8, casts included: medians of five rounds that take turns. <paramref name="rounded"/>: the
    /// net's own numbers are of that half precision, not float32. Takes some milliseconds and waits for the device.
    /// </summary>
    public static double Speedup(Device device, Dtype half, long rows, long inputs, long outputs, bool rounded = false)
    {
        using var scope = TensorScope.Open();
        var own = rounded ? half : Dtype.Float32;
        using var x = Random(device, own, rows, inputs);
        using var weight = Random(device, own, outputs, inputs);
        using var float8 = new Fp8Linear(16, 1);
        LinearMode[] modes = [new HalfMode(half), new Float8Mode(float8)];
        foreach (var mode in modes)
        {
            _ = Milliseconds(mode, x, weight, Warm);
        }
        var times = Enumerable.Range(0, Rounds).Select(_ => (Half: Milliseconds(modes[0], x, weight, Passes), Float8: Milliseconds(modes[1], x, weight, Passes))).ToArray();
        return times.Select(t => t.Half).Order().ElementAt(Rounds / 2) / times.Select(t => t.Float8).Order().ElementAt(Rounds / 2);
    }

    private static double Milliseconds(LinearMode mode, TensorHandle x, TensorHandle weight, int passes)
    {
        var begin = Stopwatch.GetTimestamp();
        for (var i = 0; i < passes; i++)
        {
            using var scope = TensorScope.Open();
            mode.Apply(x.Tensor, weight.Tensor, default).Sum().Backward();
        }
        using var last = TensorScope.Open();
        _ = weight.Tensor.Grad().Sum().Item(); // waits for all of it
        return Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
    }

    private static TensorHandle Random(Device device, Dtype dtype, long rows, long columns)
    {
        // Fixed values: a probe draws nothing from the run's generator.
        var values = new float[rows * columns];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (i * 2654435761L % 2003 - 1001) / 1001f;
        }
        var tensor = TensorHandle.From<float>(values, rows, columns);
        tensor.MoveTo(device, dtype);
        return tensor.WithGrad();
    }
}
