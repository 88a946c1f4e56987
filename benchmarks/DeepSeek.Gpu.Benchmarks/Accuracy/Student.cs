using DeepSeek.Engine;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>A code that was not named: how deep it lies, in [0, 1], how many bytes before the question its fact ends, the text's length, and which of the code's bytes was the first wrong one.</summary>
internal readonly record struct MissedNeedle(double Depth, int Gap, int Length, int Byte);

/// <summary>A decoder that is trained and examined.</summary>
internal sealed class Student : IDisposable
{
    private const int Fitted = 8; // windows to which a budget is fitted
    private const int Places = 4; // seed of the places that are decoded

    private readonly AccuracyOptions _options;
    private readonly Corpus _corpus;
    private readonly Device _device;
    private readonly Llama _net;

    internal Student(AccuracyOptions options, Corpus corpus, Device device, LlamaConfig config)
    {
        (_options, _corpus, _device) = (options, corpus, device);
        EngineRuntime.Seed(options.Seed);
        _net = new Llama(config);
        _net.To(device);
        if (device.IsCuda)
        {
            CudaDevice.AllowAttention(AttentionKinds.CuDnn);
            _net.ToPrecision(Dtype.BFloat16);
        }
    }

    internal long Weights => _net.Parameters().Sum(p => p.Tensor.Tensor.Elements);

    internal void TakeWeightsOf(Student other)
    {
        using var scope = TensorScope.Open();
        using var still = NoGrad.Enter();
        foreach (var (mine, theirs) in _net.Parameters().Zip(other._net.Parameters()))
        {
            mine.Tensor.Tensor.CopyInPlace(theirs.Tensor.Tensor);
        }
    }

    /// <summary>Trains by AdamW with a warm-up and a cosine down to a tenth; (step, loss) every 50 steps. Equal seeds see equal rows in equal order.</summary>
    internal List<(int Step, double Loss)> Train()
    {
        _net.Train();
        var (inputs, targets) = (new long[_options.Batch * _options.Length], new long[_options.Batch * _options.Length]);
        using var x = TensorHandle.From<long>(inputs, _options.Batch, _options.Length);
        using var y = TensorHandle.From<long>(targets, _options.Batch, _options.Length);
        x.MoveTo(_device);
        y.MoveTo(_device);
        using var optimizer = new AdamW(_net, weightDecay: 0.05, beta2: 0.95);
        using var capture = new Capture(_device, tensors =>
        {
            var loss = _net.Loss(tensors[0], tensors[1]);
            loss.Backward();
            optimizer.LimitGradients(_options.Clip);
            optimizer.Step();
            optimizer.ClearGradients();
            return loss;
        });
        var random = new System.Random(_options.Seed);
        var curve = new List<(int, double)>();
        var warmup = Math.Clamp(_options.Steps / 20, 1, 200);
        for (var step = 1; step <= _options.Steps; step++)
        {
            for (var row = 0; row < _options.Batch; row++)
            {
                var text = _corpus.Sample(random, _options.Length + 1);
                if (random.NextDouble() < _options.Needles)
                {
                    var count = random.Next(_options.NeedlesInARow) + 1;
                    _ = random.NextDouble() < _options.Scattered ? Needle.HideMany(text, count, random) : Needle.HideThenAsk(text, count, random);
                }
                Spread(text, row, inputs, targets);
            }
            x.Tensor.Write<long>(inputs);
            y.Tensor.Write<long>(targets);
            optimizer.LearningRate = _options.Rate * Math.Min(step / (double)warmup, 0.55 + 0.45 * Math.Cos(Math.PI * step / _options.Steps));
            using var scope = TensorScope.Open();
            var loss = capture.Run(x.Tensor, y.Tensor);
            if (step % 50 == 0 || step == _options.Steps)
            {
                curve.Add((step, loss.Item()));
                if (step % 250 == 0)
                {
                    Console.WriteLine($"step {step}: loss {curve[^1].Item2:F4}");
                }
            }
        }
        return curve;
    }

    /// <summary>Chooses by the share of attention that keeps the density on training text; returns the share.</summary>
    internal double FitMass(double density)
    {
        _net.Train(false);
        var random = new System.Random(_options.Seed + 2);
        var inputs = new long[Fitted * _options.Length];
        for (var row = 0; row < Fitted; row++)
        {
            Spread(_corpus.Sample(random, _options.Length + 1), row, inputs, new long[inputs.Length]);
        }
        return SparseBudget.Fit(_net.SparseLayers, density, () =>
        {
            using var scope = TensorScope.Open();
            using var still = NoGrad.Enter();
            _net.Features(Tensor.From<long>(inputs, Fitted, _options.Length).To(_device));
        }).Mass;
    }

    internal void Use(SparsePolicy policy)
    {
        foreach (var layer in _net.SparseLayers)
        {
            layer.Policy = policy;
        }
    }

    /// <summary>The loss of each byte in nats, [windows, length], over the validation windows, and the share of visible blocks kept in each layer of sparse attention.</summary>
    internal (float[][] Losses, double[] Density) Validate()
    {
        _net.Train(false);
        var losses = new float[Math.Min(_options.Validation, _corpus.ValidationWindows(_options.Length + 1))][];
        var density = new double[_net.SparseLayers.Count];
        foreach (var layer in _net.SparseLayers)
        {
            layer.Reports = true;
        }
        foreach (var windows in Enumerable.Range(0, losses.Length).Chunk(_options.Batch))
        {
            using var scope = TensorScope.Open();
            using var still = NoGrad.Enter();
            var (inputs, targets) = (new long[windows.Length * _options.Length], new long[windows.Length * _options.Length]);
            for (var row = 0; row < windows.Length; row++)
            {
                Spread(_corpus.Validation(windows[row], _options.Length + 1), row, inputs, targets);
            }
            var logits = _net.Forward(On(inputs, windows.Length)).To(Dtype.Float32);
            var all = Losses.CrossEntropy(logits.Reshape(inputs.Length, -1), On(targets, 1).Reshape(-1), reduction: Reduction.None).To(Device.Cpu).ToArray<float>();
            for (var row = 0; row < windows.Length; row++)
            {
                losses[windows[row]] = all[(row * _options.Length)..((row + 1) * _options.Length)];
            }
            for (var i = 0; i < density.Length; i++)
            {
                density[i] += _net.SparseLayers[i].Density()!.Value * windows.Length / losses.Length;
            }
        }
        foreach (var layer in _net.SparseLayers)
        {
            layer.Reports = false;
        }
        return (losses, density);
    }

    /// <summary>
    /// For each validation window, the loss in nats of bytes at some places of its second half, each predicted from a text that ends in front of it: no query behind has a part in
    /// any choice, as in decoding. The places are the same for every net.
    /// </summary>
    internal (int Place, float Loss)[][] Decode()
    {
        _net.Train(false);
        var random = new System.Random(Places);
        var found = Enumerable.Range(0, Math.Min(_options.Validation, _corpus.ValidationWindows(_options.Length + 1))).Select(_ => new List<(int, float)>()).ToArray();
        foreach (var windows in Enumerable.Range(0, found.Length).Chunk(_options.Batch))
        {
            var texts = Array.ConvertAll(windows, n => _corpus.Validation(n, _options.Length + 1));
            for (var turn = 0; turn < _options.Decoded; turn++)
            {
                using var scope = TensorScope.Open();
                using var still = NoGrad.Enter();
                var place = random.Next(_options.Length / 2, _options.Length); // of the last query
                var targets = On([.. texts.Select(text => (long)text[place + 1])], 1).Reshape(-1);
                var logits = After([.. texts.Select(text => text[..(place + 1)])]);
                var losses = Losses.CrossEntropy(logits, targets, reduction: Reduction.None).To(Device.Cpu).ToArray<float>();
                for (var row = 0; row < windows.Length; row++)
                {
                    found[windows[row]].Add((place, losses[row]));
                }
            }
        }
        return Array.ConvertAll(found, window => window.ToArray());
    }

    /// <summary>
    /// The needles whose code the net does not name, greedily and byte by byte, so that it never sees what comes after the byte it has to name: how deep each
    /// lies, from the start (0) to the end (1) of the text, and the first wrong byte of its code. A byte counts as named where no other is as likely.
    /// </summary>
    internal List<MissedNeedle> Probe()
    {
        _net.Train(false);
        var missed = new List<MissedNeedle>();
        foreach (var texts in Haystack.Groups(_corpus, _options.Length, _options.Probes, _options.Batch))
        {
            var asked = texts.ToList();
            var end = asked[0].Text.Length - Needle.CodeLength;
            for (var wanted = 0; wanted < Needle.CodeLength && asked.Count > 0; wanted++)
            {
                using var scope = TensorScope.Open();
                using var still = NoGrad.Enter();
                // What was named so far is the code itself: who named another byte is out.
                var place = end + wanted;
                var logits = After([.. asked.Select(t => t.Text[..place])]).To(Device.Cpu).ToArray<float>();
                var bytes = logits.Length / asked.Count;
                for (var row = asked.Count - 1; row >= 0; row--)
                {
                    var mine = logits[(row * bytes)..((row + 1) * bytes)];
                    var right = mine[asked[row].Text[place]];
                    if (mine.Count(logit => logit >= right) > 1)
                    {
                        missed.Add(new(asked[row].Depth, asked[row].Gap, asked[row].Text.Length, wanted));
                        asked.RemoveAt(row);
                    }
                }
            }
        }
        return missed;
    }

    public void Dispose()
    {
        _net.Dispose();
        if (_device.IsCuda)
        {
            CudaDevice.EmptyCache();
        }
    }

    /// <summary>Logits, [texts, bytes], of the byte behind each of some equally long texts.</summary>
    private Tensor After(byte[][] texts)
    {
        var length = texts[0].Length;
        var last = _net.Features(On([.. texts.SelectMany(text => text).Select(b => (long)b)], texts.Length)).Narrow(1, length - 1, 1);
        return Functional.Linear(last, _net.HeadWeight.Tensor).Reshape(texts.Length, -1).To(Dtype.Float32);
    }

    private Tensor On(long[] ids, int rows) => Tensor.From<long>(ids, rows, ids.Length / rows).To(_device);

    private static void Spread(byte[] text, int row, long[] inputs, long[] targets)
    {
        var length = text.Length - 1;
        for (var i = 0; i < length; i++)
        {
            inputs[row * length + i] = text[i];
            targets[row * length + i] = text[i + 1];
        }
    }
}
