using DeepSeek.Data;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Gpu.Benchmarks;

/// <summary>Nets so small that launching their work costs more than doing it, in float32 with TF32 products.</summary>
internal sealed class SmallCase : TrainingCase
{
    internal SmallCase(string name, int batch, Device device, bool captured) : base(device, captured)
    {
        (Net, var shape) = Create(name);
        Net.To(device);
        Optimizer = new AdamW(Net) { LearningRate = 1e-3 };
        Inputs = [Random.Normal(device, Dtype.Float32, [batch, .. shape]), Random.Integers(device, 10, batch)];
    }

    protected override Module Net { get; }

    protected override Optimizer Optimizer { get; }

    protected override TensorHandle[] Inputs { get; }

    protected override Tensor Loss(ReadOnlySpan<Tensor> inputs) => Losses.CrossEntropy(Net.Forward(inputs[0]), inputs[1]);

    private static (Module Net, long[] Shape) Create(string name) => name switch
    {
        "mlp" => (new Sequential(new Linear(784, 128), Relu(), new Linear(128, 10)), [784]),
        "lenet" => (new Sequential(new Conv2d(1, 6, 5, padding: 2), Relu(), new MaxPool(2, 2), new Conv2d(6, 16, 5), Relu(), new MaxPool(2, 2), new Flatten(),
            new Linear(400, 120), Relu(), new Linear(120, 84), Relu(), new Linear(84, 10)), [1, 28, 28]),
        "lstm" => (new LstmClassifier(new LstmConfig { Inputs = 28, Tokens = false, Hidden = 128, Layers = 1, Bidirectional = false, Attention = 128, Outputs = 10 }), [28, 28]),
        "convnet" => (new ConvNet(new ConvNetConfig { Inputs = 1, Height = 28, Width = 28, Outputs = 10 }), [1, 28, 28]),
        _ => throw new ArgumentException($"There is no case {name}."),
    };

    private static Activation Relu() => new(ActivationKind.Relu);
}

/// <summary>ResNet-50 in channels-last layout under bfloat16 autocast, SGD with momentum.</summary>
internal sealed class ResNetCase : TrainingCase
{
    internal ResNetCase(int batch, Device device, bool captured) : base(device, captured)
    {
        Net = new ResNet(ResNetConfig.ResNet50);
        Net.To(device, channelsLast: true);
        Optimizer = new Sgd(Net) { LearningRate = 0.1 };
        using var scope = TensorScope.Open();
        using var images = Random.Normal(device, Dtype.Float32, batch, 3, 224, 224);
        Inputs = [images.Tensor.ChannelsLast().Keep(), Random.Integers(device, 1000, batch)];
    }

    protected override Module Net { get; }

    protected override Optimizer Optimizer { get; }

    protected override TensorHandle[] Inputs { get; }

    protected override Tensor Loss(ReadOnlySpan<Tensor> inputs)
    {
        using var autocast = Autocast.Enter(Device.Type, Dtype.BFloat16);
        return Losses.CrossEntropy(Net.Forward(inputs[0]), inputs[1]);
    }
}

/// <summary>A GPT at 1024 tokens: bfloat16 weights with float32 masters; by itself GPT-2 124M.</summary>
internal sealed class GptCase : TrainingCase
{
    internal const int Length = 1024;
    internal const int Vocabulary = 50304;

    // At batch 64, within 30 % of the plain step's memory.
    private const int DefaultMiddles = 4;
    private readonly Gpt _net;
    private readonly int _batch;
    private readonly PrecisionController? _precision;

    internal GptCase(GptConfig config, int batch, Device device, bool captured, string mode, string? weights) : base(device, captured)
    {
        _batch = batch;
        if (device.IsCuda)
        {
            CudaDevice.AllowAttention(AttentionKinds.CuDnn);
        }
        _net = new Gpt(config with { Vocabulary = Vocabulary });
        if (weights is not null)
        {
            Load(weights);
        }
        _net.To(device);
        _net.ToPrecision(Dtype.BFloat16);
        // The head is the table of tokens, which the controller does not touch. Looks follow closely so that a short run comes to rest.
        var options = new PrecisionOptions { KeepHigh = _ => false, Interval = 4 };
        _precision = mode switch
        {
            "fp8" or "fp8-eager" => new PrecisionController(_net, options),
            "fp8-quick" => new PrecisionController(_net, options with { Interval = 2, GuardSteps = 4 }),
            _ => null,
        };
        if (mode.Split('-') is ["captured", "checkpointed", .. var how])
        {
            Recompute(how is [var middles, ..] ? int.Parse(middles) : DefaultMiddles);
        }
        Optimizer = mode is "adaptive" or "captured-adaptive" ? new AdaptiveOptimizer(_net, new AdaptiveOptions { InitialLearningRate = 3e-4 }) : new AdamW(_net, weightDecay: 0.01) { LearningRate = 3e-4 };
        Inputs = [Random.Integers(device, Vocabulary, batch, Length), Random.Integers(device, Vocabulary, batch, Length)];
        if (mode.Split('-') is ["captured", "planned", var mebibytes])
        {
            Plan(long.Parse(mebibytes) << 20);
        }
    }

    protected override Module Net => _net;

    protected override Optimizer Optimizer { get; }

    protected override TensorHandle[] Inputs { get; }

    /// <summary>Losses of steps over a file of int64 tokens [steps · batch, 1025] with a rate that rises over the first 50 steps.</summary>
    internal double[] Curve(int steps, double rate, string tokens)
    {
        const int width = Length + 1;
        var all = NpyArray.Parse(File.ReadAllBytes(tokens)).As<long>();
        var losses = new double[steps];
        var (x, y) = (new long[_batch * Length], new long[_batch * Length]);
        for (var step = 0; step < steps; step++)
        {
            for (var row = 0; row < _batch; row++)
            {
                var line = all.Slice((step * _batch + row) * width, width);
                line[..Length].CopyTo(x.AsSpan(row * Length));
                line[1..].CopyTo(y.AsSpan(row * Length));
            }
            Inputs[0].Tensor.Write<long>(x);
            Inputs[1].Tensor.Write<long>(y);
            Optimizer.LearningRate = rate * Math.Min(1, (step + 1) / 50.0);
            using var scope = TensorScope.Open();
            losses[step] = Run().Item();
        }
        return losses;
    }

    /// <summary>Layers by precision, how often one was moved, and why FP8 is off where it is.</summary>
    internal override object? Precision => _precision is null ? null : new
    {
        layers = _precision.Layers.GroupBy(l => l.Precision.ToString()).ToDictionary(g => g.Key, g => g.Count()),
        moves = _precision.Log.GroupBy(m => $"{m.From} to {m.To}: {m.Cause}").ToDictionary(g => g.Key, g => g.Count()),
        notes = _precision.Notes,
    };

    public override void Dispose()
    {
        _precision?.Dispose();
        base.Dispose();
    }

    protected override Tensor Loss(ReadOnlySpan<Tensor> inputs) => _net.Loss(inputs[0], inputs[1]);

    protected override PrecisionController? Controller => _precision;

    /// <summary>gpt-WIDTHxLAYERS with heads of 128; null for other names.</summary>
    internal static GptConfig? Wide(string name) =>
        name.Split('-', 'x') is ["gpt", var width, var layers] && int.TryParse(width, out var w) && int.TryParse(layers, out var l)
            ? new GptConfig { Width = w, Layers = l, Heads = w / 128 }
            : null;

    private void Plan(long budget)
    {
        var cost = CheckpointPlanner.Measure(_net, rows => _net.Loss(Inputs[0].Tensor.Narrow(0, 0, rows), Inputs[1].Tensor.Narrow(0, 0, rows)), _batch);
        var plan = CheckpointPlanner.Choose(cost, budget);
        plan.Apply(_net);
        Planned = new { blocks = plan.Segments.Zip(plan.Keeps, (name, keeps) => $"{name}:{keeps}"), plan.Plain, plan.Planned, plan.Seconds, forward = cost.Seconds };
        if (Device.IsCuda)
        {
            CudaDevice.EmptyCache();
            CudaDevice.ResetPeaks();
        }
    }

    // The last block's values are wanted again at once: to compute them twice would save memory for the head alone. So many others keep their middle.
    private void Recompute(int middles)
    {
        foreach (var (index, (_, segment)) in CheckpointPlanner.Segments(_net).SkipLast(1).Index())
        {
            (segment.Recomputes, segment.Keeps) = (true, index < middles ? 2 : 1);
        }
    }

    private void Load(string weights)
    {
        using var content = Safetensors.Read(File.ReadAllBytes(weights));
        foreach (var (name, tensor) in _net.State())
        {
            content.Tensors[name].Span<float>().CopyTo(tensor.Span<float>());
        }
    }
}

internal static class Random
{
    internal static TensorHandle Normal(Device device, Dtype dtype, params ReadOnlySpan<long> sizes)
    {
        var tensor = TensorHandle.Empty(dtype, device, sizes);
        tensor.Tensor.NormalInPlace(0, 1);
        return tensor;
    }

    internal static TensorHandle Integers(Device device, int below, params ReadOnlySpan<long> sizes)
    {
        long count = 1;
        foreach (var size in sizes)
        {
            count *= size;
        }
        var random = new System.Random(1);
        var values = new long[count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = random.Next(below);
        }
        var tensor = TensorHandle.From<long>(values, sizes);
        tensor.MoveTo(device);
        return tensor;
    }
}
