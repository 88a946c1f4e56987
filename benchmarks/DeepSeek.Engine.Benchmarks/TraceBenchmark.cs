using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;
using Stopwatch = System.Diagnostics.Stopwatch;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>What a trace costs a training step while it runs: series without a trace, with names alone, and with shapes and memory, by turns.</summary>
internal static class TraceBenchmark
{
    private const int Series = 15;

    internal static int Run()
    {
        EngineRuntime.Threads = 1;
        Console.WriteLine($"command: {Environment.CommandLine}");
        Console.WriteLine($"software: .NET {Environment.Version}, libtorch {EngineRuntime.LibtorchVersion}, one libtorch thread, {Environment.ProcessorCount} cores, load {File.ReadAllText("/proc/loadavg").Trim()}");
        using var small = new Sequential(new Linear(784, 128), new Activation(ActivationKind.Relu), new Linear(128, 10));
        Compare("MLP 784-128-10, batch 32", small, [32, 784], 50);
        using var large = new Sequential(new Conv2d(1, 32, 3, padding: 1), new Activation(ActivationKind.Relu), new Conv2d(32, 64, 3, padding: 1), new Flatten(), new Linear(64 * 28 * 28, 10));
        Compare("convolutional net, 28x28, batch 32", large, [32, 1, 28, 28], 3);
        return 0;
    }

    private static void Compare(string name, Sequential net, long[] shape, int stepsPerSeries)
    {
        using var optimizer = new Sgd(net);
        using var x = TensorHandle.Empty(Dtype.Float32, shape);
        x.Tensor.NormalInPlace(0, 1);
        using var y = TensorHandle.From<long>(new long[shape[0]], shape[0]);
        Steps(net, optimizer, x, y, stepsPerSeries);
        var times = new List<double>[] { [], [], [] };
        var events = 0;
        for (var i = 0; i < Series; i++)
        {
            times[0].Add(Steps(net, optimizer, x, y, stepsPerSeries));
            for (var kind = 1; kind <= 2; kind++)
            {
                using var trace = Trace.Start(new TraceOptions { Shapes = kind == 2, Memory = kind == 2, Device = Device.Cpu, Ceilings = s_none });
                times[kind].Add(Steps(net, optimizer, x, y, stepsPerSeries));
                events = trace.Stop().Events.Count / stepsPerSeries;
            }
        }
        Console.WriteLine(FormattableString.Invariant(
            $"{name}: {events} events/step; without {Describe(times[0])}, names {Describe(times[1])}, shapes and memory {Describe(times[2])} µs/step; per event {(Median(times[1]) - Median(times[0])) / events:F2} and {(Median(times[2]) - Median(times[0])) / events:F2} µs"));
    }

    private static readonly DeviceCeilings s_none = new() { FlopRates = new Dictionary<string, double>(), Bandwidth = 1e10, CallSeconds = 1e-6, Source = "none" };

    private static double Steps(Sequential net, Optimizer optimizer, TensorHandle x, TensorHandle y, int count)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < count; i++)
        {
            using var scope = TensorScope.Open();
            Losses.CrossEntropy(net.Forward(x.Tensor), y.Tensor).Backward();
            optimizer.Step(1e-5);
            optimizer.ClearGradients();
        }
        return Stopwatch.GetElapsedTime(start).TotalMicroseconds / count;
    }

    private static double Median(List<double> times) => times.Order().ElementAt(times.Count / 2);

    private static string Describe(List<double> times) =>
        FormattableString.Invariant($"{Median(times):F0} ({times.Order().ElementAt(times.Count / 4):F0}-{times.Order().ElementAt(3 * times.Count / 4):F0})");
}
