using System.Globalization;
using System.IO.Compression;
using System.Text;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Benchmarks.Adaptive;

/// <summary>A small learning problem: a net, batches drawn by seed and step, and a held-out loss.</summary>
internal abstract class JudgedTask
{
    internal abstract string Name { get; }

    /// <summary>Steps of the baseline.</summary>
    internal abstract long Steps { get; }

    /// <summary>Steps between measurements of the held-out loss.</summary>
    internal abstract int Interval { get; }

    /// <summary>The dropout tried beside none.</summary>
    internal abstract double Dropout { get; }

    internal abstract Module Create(double dropout);

    /// <summary>Loss of a training batch.</summary>
    internal abstract Tensor Loss(Module net, SeededRandom draw);

    /// <summary>Mean loss over all held-out rows; the caller has switched the net to use.</summary>
    internal abstract double Validate(Module net);
}

/// <summary>Rows with a class, in memory: cross entropy, batches drawn with replacement.</summary>
internal abstract class RowsTask(float[] train, long[] trainTarget, float[] held, long[] heldTarget, long[] shape, int batch) : JudgedTask
{
    private const int HeldBatch = 250;

    internal override Tensor Loss(Module net, SeededRandom draw)
    {
        var indices = Enumerable.Range(0, batch).Select(_ => draw.Below(trainTarget.Length)).ToArray();
        return Losses.CrossEntropy(net.Forward(Rows(train, indices)), Tensor.From<long>([.. indices.Select(i => trainTarget[i])], batch));
    }

    internal override double Validate(Module net)
    {
        double sum = 0;
        for (var first = 0; first < heldTarget.Length; first += HeldBatch)
        {
            using var scope = TensorScope.Open();
            using var unrecorded = NoGrad.Enter();
            var indices = Enumerable.Range(first, Math.Min(HeldBatch, heldTarget.Length - first)).ToArray();
            var target = Tensor.From<long>([.. indices.Select(i => heldTarget[i])], indices.Length);
            sum += Losses.CrossEntropy(net.Forward(Rows(held, indices)), target, reduction: Reduction.Sum).Item();
        }
        return sum / heldTarget.Length;
    }

    private Tensor Rows(float[] source, int[] indices)
    {
        var width = (int)shape.Aggregate(1L, (a, b) => a * b);
        var values = new float[indices.Length * width];
        for (var i = 0; i < indices.Length; i++)
        {
            source.AsSpan(indices[i] * width, width).CopyTo(values.AsSpan(i * width));
        }
        return Tensor.From<float>(values, [indices.Length, .. shape]);
    }
}

/// <summary>Breast cancer (569 rows of 30 numbers): a residual perceptron; 399 rows to learn from, 170 held out.</summary>
internal sealed class BreastCancerTask : RowsTask
{
    private const int TrainRows = 399;

    private BreastCancerTask((float[] X, long[] Y) all, int features) : base(all.X[..(TrainRows * features)], all.Y[..TrainRows], all.X[(TrainRows * features)..], all.Y[TrainRows..], [features], 32) => Features = features;

    internal static BreastCancerTask Load(string csv)
    {
        var rows = File.ReadLines(csv).Skip(1).Select(l => l.Split(',')).ToArray();
        new SeededRandom(7).Shuffle(rows.AsSpan());
        var features = rows[0].Length - 1;
        var values = rows.Select(r => r.Take(features).Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray()).ToArray();
        double[] mean = [.. Enumerable.Range(0, features).Select(f => values.Take(TrainRows).Average(r => r[f]))];
        double[] deviation = [.. Enumerable.Range(0, features).Select(f => Math.Sqrt(values.Take(TrainRows).Average(r => Math.Pow(r[f] - mean[f], 2))))];
        return new(([.. values.SelectMany(r => r.Select((v, f) => (float)((v - mean[f]) / deviation[f])))], [.. rows.Select(r => r[^1] == "malignant" ? 1L : 0L)]), features);
    }

    private int Features { get; }
    internal override string Name => "breast cancer, perceptron";
    internal override long Steps => 60;
    internal override int Interval => 2;
    internal override double Dropout => 0.3;
    internal override Module Create(double dropout) => new TabularMlp(new TabularMlpConfig { Inputs = Features, Outputs = 2, Width = 64, Dropout = dropout });
}

/// <summary>Fashion-MNIST, its first 6 000 images to learn from and the first 1 000 of its test set held out: two small convolutions.</summary>
internal sealed class FashionTask : RowsTask
{
    private FashionTask(float[] train, long[] trainTarget, float[] held, long[] heldTarget) : base(train, trainTarget, held, heldTarget, [1, 28, 28], 64)
    {
    }

    internal static FashionTask Load(string folder) => new(
        Images(folder, "train-images-idx3-ubyte.gz", 6000), Labels(folder, "train-labels-idx1-ubyte.gz", 6000),
        Images(folder, "t10k-images-idx3-ubyte.gz", 1000), Labels(folder, "t10k-labels-idx1-ubyte.gz", 1000));

    internal override string Name => "Fashion-MNIST, convolutions";
    internal override long Steps => 200;
    internal override int Interval => 10;
    internal override double Dropout => 0.25;
    internal override Module Create(double dropout) => new ConvNet(new ConvNetConfig { Inputs = 1, Height = 28, Width = 28, Outputs = 10, Channels = [8, 16], Hidden = 64, Dropout = dropout });

    // Mean and deviation of the training pixels.
    private static float[] Images(string folder, string name, int count) => [.. Bytes(folder, name, 16, count * 784).Select(b => (b - 72.94f) / 90.02f)];

    private static long[] Labels(string folder, string name, int count) => [.. Bytes(folder, name, 8, count).Select(b => (long)b)];

    private static byte[] Bytes(string folder, string name, int header, int count)
    {
        using var file = new GZipStream(File.OpenRead(Path.Combine(folder, name)), CompressionMode.Decompress);
        var bytes = new byte[header + count];
        file.ReadExactly(bytes);
        return bytes[header..];
    }
}

/// <summary>Characters of the licence texts that Debian installs; the last tenth of each is held out: a GPT of two layers.</summary>
internal sealed class CharacterTask : JudgedTask
{
    private const int Length = 64;
    private const int Batch = 8;
    private const int HeldSequences = 64;
    private readonly byte[] _train;
    private readonly byte[] _held;

    private CharacterTask(byte[] train, byte[] held) => (_train, _held) = (train, held);

    internal static CharacterTask Load(string folder)
    {
        var texts = Directory.GetFiles(folder).Where(f => new FileInfo(f).LinkTarget is null).Order(StringComparer.Ordinal).Select(f => Encoding.ASCII.GetBytes(File.ReadAllText(f, Encoding.ASCII))).ToArray();
        return new([.. texts.SelectMany(t => t[..(t.Length * 9 / 10)])], [.. texts.SelectMany(t => t[(t.Length * 9 / 10)..])]);
    }

    internal override string Name => "licence texts, character GPT";
    internal override long Steps => 250;
    internal override int Interval => 10;
    internal override double Dropout => 0.1;
    internal override Module Create(double dropout) => new Gpt(new GptConfig { Vocabulary = 128, Length = Length, Width = 64, Layers = 2, Heads = 2, Dropout = dropout });

    internal override Tensor Loss(Module net, SeededRandom draw) => Loss((Gpt)net, _train, [.. Enumerable.Range(0, Batch).Select(_ => draw.Below(_train.Length - Length - 1))]);

    internal override double Validate(Module net)
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var stride = (_held.Length - Length - 1) / HeldSequences;
        return Loss((Gpt)net, _held, [.. Enumerable.Range(0, HeldSequences).Select(i => i * stride)]).Item();
    }

    private static Tensor Loss(Gpt net, byte[] text, int[] starts)
    {
        long[] ids = [.. starts.SelectMany(s => text.Skip(s).Take(Length)).Select(b => (long)(b & 127))];
        long[] next = [.. starts.SelectMany(s => text.Skip(s + 1).Take(Length)).Select(b => (long)(b & 127))];
        return net.Loss(Tensor.From<long>(ids, starts.Length, Length), Tensor.From<long>(next, starts.Length, Length));
    }
}
