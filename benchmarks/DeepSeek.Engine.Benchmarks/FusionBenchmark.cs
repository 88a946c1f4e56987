using System.Diagnostics;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>
/// Training steps of BERT, a GPT with dropout and Llama with the fused operators that their modules pick, and with a hook on each norm, dropout
/// and linear layer, which makes them take plain operators; by turns in one run. On a GPU weights are bfloat16 and the steps captured.
/// Llama's rotary embedding and gated activation are fused in both.
/// </summary>
internal static class FusionBenchmark
{
    private const int Series = 7;
    private const int StepsPerSeries = 4;

    private sealed record Case(string Name, Func<Module> Net, int Vocabulary, int Batch, int Length);

    internal static int Run(string place)
    {
        var device = Device.Parse(place);
        Console.WriteLine($"{(device.IsCuda ? CudaDevice.Info(device.Index).Name : $"{Environment.ProcessorCount} processors, {EngineRuntime.Threads} threads, load {File.ReadAllText("/proc/loadavg").Trim()}")}; libtorch {EngineRuntime.LibtorchVersion}, .NET {Environment.Version}");
        foreach (var one in device.IsCuda ? Large() : Small())
        {
            Compare(one, device);
        }
        return 0;
    }

    private static Case[] Small() =>
    [
        new("BERT 4 × 256, 8 × 128 tokens", () => new BertClassifier(new BertConfig { Vocabulary = 1000, Length = 128, Width = 256, Layers = 4, Heads = 4, Inner = 1024 }, 3), 1000, 8, 128),
        new("GPT 4 × 256 with dropout, 8 × 128 tokens", () => new Gpt(new GptConfig { Vocabulary = 1000, Length = 128, Width = 256, Layers = 4, Heads = 4, Dropout = 0.1 }), 1000, 8, 128),
        new("Llama 4 × 256, 8 × 128 tokens", () => new Llama(new LlamaConfig { Vocabulary = 1000, Length = 128, Width = 256, Layers = 4, Heads = 4, KeyHeads = 2, Inner = 704 }), 1000, 8, 128),
    ];

    private static Case[] Large() =>
    [
        new("BERT-base, 32 × 512 tokens", () => new BertClassifier(new BertConfig(), 3), 30522, 32, 512),
        new("GPT-2 124M with dropout, 16 × 1024 tokens", () => new Gpt(new GptConfig { Vocabulary = 50304, Dropout = 0.1 }), 50304, 16, 1024),
        new("Llama 12 × 1024, 8 × 1024 tokens", () => new Llama(new LlamaConfig { Vocabulary = 32000, Length = 1024, Width = 1024, Layers = 12, Heads = 16, KeyHeads = 4, Inner = 2816 }), 32000, 8, 1024),
    ];

    private static void Compare(Case one, Device device)
    {
        using var fused = new Contender(one, device, plain: false);
        using var plain = new Contender(one, device, plain: true);
        List<double> a = [], b = [];
        for (var i = -1; i < Series; i++)
        {
            var (x, y) = (fused.Milliseconds(StepsPerSeries), plain.Milliseconds(StepsPerSeries));
            if (i >= 0)
            {
                a.Add(x);
                b.Add(y);
            }
        }
        Console.WriteLine(FormattableString.Invariant($"{one.Name}: fused {Describe(a)}, plain {Describe(b)} ms a step: {Median(b) / Median(a):F2} ×; losses {fused.Loss:F4} {plain.Loss:F4}"));
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    private static string Describe(List<double> values) => FormattableString.Invariant($"{Median(values):F2} ({values.Min():F2} to {values.Max():F2})");

    private sealed class Contender : IDisposable
    {
        private readonly Module _net;
        private readonly AdamW _optimizer;
        private readonly Capture _step;
        private readonly TensorHandle _ids;
        private readonly TensorHandle _targets;
        private readonly Device _device;

        internal Contender(Case one, Device device, bool plain)
        {
            _device = device;
            EngineRuntime.Seed(1);
            _net = one.Net();
            _net.To(device);
            if (device.IsCuda)
            {
                _net.ToPrecision(Dtype.BFloat16);
            }
            foreach (var (_, module) in plain ? _net.Modules() : [])
            {
                if (module is LayerNorm or RmsNorm or Dropout or Linear)
                {
                    module.OnPass(HookPlace.Output, (_, _) => default);
                }
            }
            _optimizer = new AdamW(_net) { LearningRate = 1e-4 };
            var classes = _net is BertClassifier;
            _ids = Numbers(one.Vocabulary, one.Batch, one.Length);
            _targets = classes ? Numbers(3, one.Batch) : Numbers(one.Vocabulary, one.Batch, one.Length);
            _step = new Capture(device, inputs =>
            {
                var loss = _net is Gpt gpt ? gpt.Loss(inputs[0], inputs[1])
                    : Losses.CrossEntropy(_net.Forward(inputs[0]).Reshape(inputs[1].Elements, -1).To(Dtype.Float32), inputs[1].Reshape(-1));
                loss.Backward();
                _optimizer.Step();
                _optimizer.ClearGradients();
                return loss;
            });
        }

        internal double Loss { get; private set; }

        internal double Milliseconds(int steps)
        {
            var start = Stopwatch.GetTimestamp();
            using var scope = TensorScope.Open();
            Tensor loss = default;
            for (var i = 0; i < steps; i++)
            {
                loss = _step.Run(_ids.Tensor, _targets.Tensor);
            }
            Loss = loss.Item();
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds / steps;
        }

        public void Dispose()
        {
            _step.Dispose();
            _optimizer.Dispose();
            _net.Dispose();
            _ids.Dispose();
            _targets.Dispose();
        }

        private TensorHandle Numbers(int limit, params long[] sizes)
        {
            var random = new Random(3);
            var numbers = TensorHandle.From<long>([.. Enumerable.Range(0, (int)sizes.Aggregate(1L, (a, b) => a * b)).Select(_ => (long)random.Next(limit))], sizes);
            numbers.MoveTo(_device);
            return numbers;
        }
    }
}
