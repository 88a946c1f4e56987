using System.Diagnostics;
using System.Globalization;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>
/// A training step of an MLP 784-128-10 at batch 32 (forward, cross entropy, backward, AdamW or SGD) in C# and in C++, by turns in
/// one run, on the CPU or a GPU: the C++ program is a child process that does one series for each line it is sent and answers with microseconds a step.
/// </summary>
internal static class StepBenchmark
{
    private const int Warmup = 300;
    private const int StepsPerSeries = 300;
    private const int Series = 31;
    private const int SeriesOnGpu = 7; // its steps vary less

    internal static int Run(string native, string place)
    {
        var device = Device.Parse(place);
        EngineRuntime.Threads = 1;
        Console.WriteLine($"command: {Environment.CommandLine}");
        Console.WriteLine($"hardware: {(device.IsCuda ? $"{CudaDevice.Info(device.Index).Name}; " : "")}{Cpu()}, {Environment.ProcessorCount} cores, load {File.ReadAllText("/proc/loadavg").Trim()}");
        Console.WriteLine($"software: .NET {Environment.Version}, libtorch {EngineRuntime.LibtorchVersion}, one libtorch thread, OPENBLAS_NUM_THREADS={Environment.GetEnvironmentVariable("OPENBLAS_NUM_THREADS")}, OPENBLAS_CORETYPE={Environment.GetEnvironmentVariable("OPENBLAS_CORETYPE")}");
        using var cpp = Process.Start(new ProcessStartInfo(native, place) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        foreach (var optimizer in (string[])["sgd", "adamw"])
        {
            Compare(cpp, optimizer, device);
        }
        cpp.StandardInput.Close();
        cpp.WaitForExit();
        return 0;
    }

    private static void Compare(Process cpp, string name, Device device)
    {
        EngineRuntime.Seed(1);
        using var net = new Sequential(new Linear(784, 128), new Activation(ActivationKind.Relu), new Linear(128, 10));
        net.To(device);
        using Optimizer optimizer = name == "sgd" ? new Sgd(net) : new AdamW(net);
        using var x = TensorHandle.Empty(Dtype.Float32, 32, 784);
        x.MoveTo(device);
        x.Tensor.NormalInPlace(0, 1);
        using var y = TensorHandle.From<long>([.. Enumerable.Range(0, 32).Select(i => (long)(i % 10))], 32);
        y.MoveTo(device);
        Steps(net, optimizer, x, y, Warmup);
        Ask(cpp, name, Warmup);
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        Steps(net, optimizer, x, y, StepsPerSeries);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        var mine = new double[device.IsCuda ? SeriesOnGpu : Series];
        var theirs = new double[mine.Length];
        for (var i = 0; i < mine.Length; i++)
        {
            mine[i] = Steps(net, optimizer, x, y, StepsPerSeries);
            theirs[i] = Ask(cpp, name, StepsPerSeries);
        }
        var ratios = mine.Zip(theirs, (a, b) => a / b).ToArray();
        Console.WriteLine(FormattableString.Invariant(
            $"{name}: C# {Describe(mine)} µs/step; C++ {Describe(theirs)} µs/step; ratio of medians {Median(mine) / Median(theirs):F3}, median of paired ratios {Median(ratios):F3}; managed bytes per step {(double)allocated / StepsPerSeries:F1}"));
    }

    private static double Steps(Sequential net, Optimizer optimizer, TensorHandle x, TensorHandle y, int count)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < count; i++)
        {
            using var scope = TensorScope.Open();
            var loss = Losses.CrossEntropy(net.Forward(x.Tensor), y.Tensor);
            loss.Backward();
            optimizer.Step(1e-3);
            optimizer.ClearGradients();
        }
        if (x.Tensor.Device.IsCuda)
        {
            CudaDevice.Synchronize();
        }
        return Stopwatch.GetElapsedTime(start).TotalMicroseconds / count;
    }

    private static double Ask(Process cpp, string optimizer, int steps)
    {
        cpp.StandardInput.WriteLine(FormattableString.Invariant($"{optimizer} {steps}"));
        cpp.StandardInput.Flush();
        return double.Parse(cpp.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The C++ benchmark ended."), CultureInfo.InvariantCulture);
    }

    private static string Describe(double[] values)
    {
        var sorted = values.Order().ToArray();
        return FormattableString.Invariant($"median {Median(values):F1} (quartiles {sorted[sorted.Length / 4]:F1} to {sorted[3 * sorted.Length / 4]:F1}, least {sorted[0]:F1})");
    }

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        return sorted[sorted.Length / 2];
    }

    private static string Cpu() => File.ReadLines("/proc/cpuinfo").First(l => l.StartsWith("model name", StringComparison.Ordinal)).Split(':')[1].Trim();
}
