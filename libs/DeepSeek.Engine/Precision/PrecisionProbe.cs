using System.Diagnostics;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>Times a linear layer, forward and backward, in half precision and in FP8 on a device.</summary>
public static unsafe class PrecisionProbe
{
    private const int Rounds = 5;
    private const int Passes = 6; // in one recording, so that a slow host does not show

    /// <summary>
    /// Time in half precision over time in FP8, casts included: medians of rounds that take turns, on the device's clock, replayed from recordings. <paramref name="rounded"/>: the net's own numbers are of that half precision; otherwise they are float32, and
    /// with <paramref name="autocast"/> results are in half precision. Takes some hundredths of a second and waits for the device.
    /// </summary>
    public static double Speedup(Device device, Dtype half, long rows, long inputs, long outputs, bool rounded = false, bool autocast = false)
    {
        using var scope = TensorScope.Open();
        var own = rounded ? half : Dtype.Float32;
        using var x = Random(device, own, rows, inputs);
        using var weight = Random(device, own, outputs, inputs);
        using var bias = Random(device, own, 1, outputs);
        using var gradient = Random(device, autocast ? half : own, rows, outputs);
        using var float8 = new Fp8Linear(16, 1, device);
        LinearMode[] modes = [new HalfMode(half, stays: autocast), new Float8Mode(float8, autocast ? half : null)];
        Capture[] steps = [.. modes.Select(mode => new Capture(device, _ => Steps(mode, x, weight, bias, gradient), warmup: 1))];
        try
        {
            foreach (var step in steps)
            {
                _ = step.Run();
                _ = Milliseconds(device, step);
            }
            var times = Enumerable.Range(0, Rounds).Select(_ => (Half: Milliseconds(device, steps[0]), Float8: Milliseconds(device, steps[1]))).ToArray();
            return times.Select(t => t.Half).Order().ElementAt(Rounds / 2) / times.Select(t => t.Float8).Order().ElementAt(Rounds / 2);
        }
        finally
        {
            Array.ForEach(steps, s => s.Dispose());
        }
    }

    private static Tensor Steps(LinearMode mode, TensorHandle x, TensorHandle weight, TensorHandle bias, TensorHandle gradient)
    {
        Tensor last = default;
        for (var pass = 0; pass < Passes; pass++)
        {
            using var scope = TensorScope.Open();
            last = scope.Return(Step(mode, x, weight, bias, gradient));
        }
        return last;
    }

    private static Tensor Step(LinearMode mode, TensorHandle x, TensorHandle weight, TensorHandle bias, TensorHandle gradient)
    {
        var y = mode.Apply(x.Tensor, weight.Tensor, bias.Tensor.Reshape(-1));
        NativeMethods.Check(NativeMethods.ds_autograd_backward(y.Handle, gradient.Native, 0));
        var leaves = stackalloc nint[] { x.Native, weight.Native, bias.Native };
        NativeMethods.Check(NativeMethods.ds_autograd_clear_grads(leaves, 3));
        return y.Detach();
    }

    private static double Milliseconds(Device device, Capture step)
    {
        using var scope = TensorScope.Open();
        if (!device.IsCuda)
        {
            var start = Stopwatch.GetTimestamp();
            _ = step.Run();
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        using var begin = new CudaEvent();
        using var end = new CudaEvent();
        // While the device is at the first, the second is asked of it.
        _ = step.Run();
        begin.Record();
        _ = step.Run();
        end.Record();
        return end.Since(begin);
    }

    private static TensorHandle Random(Device device, Dtype dtype, long rows, long columns)
    {
        // Fixed values: a probe draws nothing from the run's generator.
        using var scope = TensorScope.Open();
        var values = Pattern(rows, 1).To(device) * Pattern(1, columns).To(device);
        return values.To(dtype).Detach().Keep().WithGrad();
    }

    private static Tensor Pattern(long rows, long columns) =>
        Tensor.From<float>([.. Enumerable.Range(0, (int)(rows * columns)).Select(i => (i * 2654435761L % 2003 - 1001) / 1001f)], rows, columns);
}
