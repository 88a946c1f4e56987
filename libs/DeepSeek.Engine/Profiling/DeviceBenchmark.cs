using System.Diagnostics;
using DeepSeek.Devices;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Profiling;

/// <summary>Measures what a device can do: matrix products, convolution, attention, copies, and what a call costs.</summary>
public sealed class DeviceBenchmark(Device device)
{
    private const int LeastRuns = 5;
    private const int MostRuns = 1000;
    private const int Calls = 2000;

    private readonly (long Matmul, long Images, long Batch, long Heads, long Length, long Width, long Copied) _sizes =
        device.IsCuda ? (8192, 128, 8, 16, 2048, 128, 1L << 28) : (768, 4, 1, 8, 256, 64, 1L << 24);

    /// <summary>Rates the device on everything, about <paramref name="seconds"/> for each workload.</summary>
    public DeviceRating Rate(ComputeDevice hardware, DateTimeOffset now, double seconds = 0.5) => Undisturbed(() => RateNow(hardware, now, seconds));

    /// <summary>The device's roof for some element types, in a fraction of a second each.</summary>
    public DeviceCeilings Roof(IEnumerable<string> types, double seconds = 0.1) => Undisturbed(() => RoofNow(types, seconds));

    // What is measured in the middle of a training must not change its random numbers.
    private static T Undisturbed<T>(Func<T> measure)
    {
        var state = EngineRuntime.RandomState();
        try
        {
            return measure();
        }
        finally
        {
            EngineRuntime.RestoreRandomState(state);
        }
    }

    private DeviceRating RateNow(ComputeDevice hardware, DateTimeOffset now, double seconds)
    {
        var workloads = new List<RatedWorkload> { Copy(seconds) };
        foreach (var type in Types)
        {
            foreach (var training in (bool[])[false, true])
            {
                workloads.AddRange(((RatedWorkload?[])[Matmul(type, training, seconds), Convolution(type, training, seconds), Attention(type, training, seconds)]).OfType<RatedWorkload>());
            }
        }
        return new DeviceRating
        {
            Device = device.ToString(),
            Name = hardware.Name,
            Key = DeviceRating.KeyOf(hardware),
            At = now,
            Threads = device.IsCuda ? null : EngineRuntime.Threads,
            Libtorch = EngineRuntime.LibtorchVersion.ToString(),
            CallSeconds = CallSeconds(),
            Workloads = workloads,
        };
    }

    private DeviceCeilings RoofNow(IEnumerable<string> types, double seconds)
    {
        var rates = new Dictionary<string, double>();
        foreach (var type in Types.Where(t => types.Contains(Name(t))))
        {
            if (Matmul(type, false, seconds) is { } product)
            {
                rates[Name(type)] = Math.Max(product.Best, Convolution(type, false, seconds)?.Best ?? 0);
            }
        }
        return new DeviceCeilings { FlopRates = rates, Bandwidth = Copy(seconds).Best, CallSeconds = CallSeconds(), Source = "measured with the trace: matrix product or convolution, copy" };
    }

    /// <summary>A rating as a roof: the best of each.</summary>
    public static DeviceCeilings Roof(DeviceRating rating) => new()
    {
        FlopRates = rating.FlopRates,
        Bandwidth = rating.Bandwidth,
        CallSeconds = rating.CallSeconds,
        Source = FormattableString.Invariant($"rating of {rating.Name}, {rating.At:yyyy-MM-dd}"),
    };

    private IEnumerable<Dtype> Types => device.IsCuda ? [Dtype.Float32, Dtype.BFloat16, Dtype.Float16] : [Dtype.Float32];

    private static string Name(Dtype type) => type.ToString().ToLowerInvariant();

    private RatedWorkload? Matmul(Dtype type, bool training, double seconds)
    {
        var n = _sizes.Matmul;
        return Time("matmul", type, training, seconds, 2.0 * n * n * n, $"[{n},{n}] x [{n},{n}]", [n, n], [n, n], (x, y) => x.MatMul(y));
    }

    private RatedWorkload? Convolution(Dtype type, bool training, double seconds)
    {
        var images = _sizes.Images;
        return Time("convolution", type, training, seconds, 2.0 * images * 64 * 56 * 56 * 64 * 9, $"[{images},64,56,56] * [64,64,3,3]", [images, 64, 56, 56], [64, 64, 3, 3],
            (x, w) => Functional.Convolution(x, w, padding: 1));
    }

    private RatedWorkload? Attention(Dtype type, bool training, double seconds)
    {
        var (batch, heads, length, width) = (_sizes.Batch, _sizes.Heads, _sizes.Length, _sizes.Width);
        // Keys and values are the same tensor: what is read, not what it holds, takes the time. Backward counts two products for each forward one.
        return Time("attention", type, training, seconds, 4.0 * batch * heads * length * length * width, $"[{batch},{heads},{length},{width}]", [batch, heads, length, width], [batch, heads, length, width],
            (q, k) => Functional.Attention(q, k, k));
    }

    private RatedWorkload Copy(double seconds)
    {
        using var scope = TensorScope.Open();
        using var recording = NoGrad.Enter();
        var from = Tensor.Scalar(1).To(device).NewFull(1, _sizes.Copied);
        var to = Tensor.Empty(Dtype.Float32, device, _sizes.Copied);
        return Result("copy", "copy", Dtype.Float32, Repeat(() => to.CopyInPlace(from), seconds), 8.0 * _sizes.Copied, "B/s", $"[{_sizes.Copied}]");
    }

    private double CallSeconds()
    {
        using var scope = TensorScope.Open();
        using var recording = NoGrad.Enter();
        var one = Tensor.Scalar(1).To(device);
        double Once(int calls)
        {
            using var inner = TensorScope.Open();
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < calls; i++)
            {
                _ = one + one;
            }
            Wait();
            return Stopwatch.GetElapsedTime(start).TotalSeconds / calls;
        }
        Once(Calls / 10);
        return Enumerable.Range(0, LeastRuns).Min(_ => Once(Calls));
    }

    private RatedWorkload? Time(string workload, Dtype type, bool training, double seconds, double flops, string shape, long[] left, long[] right, Func<Tensor, Tensor, Tensor> compute)
    {
        using var a = Operand(left, type);
        using var b = Operand(right, type);
        if (training)
        {
            a.WithGrad();
            b.WithGrad();
        }
        try
        {
            var times = Repeat(() =>
            {
                using var scope = TensorScope.Open();
                var result = compute(a.Tensor, b.Tensor);
                if (training)
                {
                    result.Sum().Backward();
                    Clear(a, b);
                }
            }, seconds);
            return Result(workload, training ? "training" : "inference", type, times, training ? 3 * flops : flops, "FLOP/s", shape);
        }
        catch (NativeException)
        {
            return null; // the device has no such operator for the type
        }
    }

    private TensorHandle Operand(long[] sizes, Dtype type)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, sizes);
        tensor.Tensor.UniformInPlace(-1, 1);
        tensor.MoveTo(device, type);
        return tensor;
    }

    private static unsafe void Clear(TensorHandle a, TensorHandle b)
    {
        var handles = stackalloc nint[2] { a.Native, b.Native };
        NativeMethods.Check(NativeMethods.ds_autograd_clear_grads(handles, 2));
    }

    private void Wait()
    {
        if (device.IsCuda)
        {
            CudaDevice.Synchronize(device.Index);
        }
    }

    private double[] Repeat(Action run, double seconds)
    {
        run();
        Wait();
        var times = new List<double>();
        var begin = Stopwatch.GetTimestamp();
        while (times.Count < LeastRuns || (times.Count < MostRuns && Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds))
        {
            var start = Stopwatch.GetTimestamp();
            run();
            Wait();
            times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        times.Sort();
        return [.. times];
    }

    private static RatedWorkload Result(string workload, string mode, Dtype type, double[] sorted, double amount, string unit, string shape)
    {
        var median = sorted[sorted.Length / 2];
        var spread = (sorted[3 * sorted.Length / 4] - sorted[sorted.Length / 4]) / 2 / median;
        return new RatedWorkload(workload, mode, Name(type), amount / median, amount / sorted[0], spread, sorted.Length, unit, shape);
    }
}
