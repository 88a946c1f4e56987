using System.Security.Cryptography;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>A trainer's work folder over made-up data: shards, manifest, pipeline and spec, as the platform lays them out.</summary>
internal sealed class TrainerFolder : IDisposable
{
    private readonly string[] _columns;
    private readonly double[] _means;
    private readonly double[] _deviations;

    private TrainerFolder(int features)
    {
        Root = Directory.CreateTempSubdirectory("deepseek-trainer-").FullName;
        _columns = [.. Enumerable.Range(0, features).Select(i => $"column {i}")];
        _means = [.. Enumerable.Range(0, features).Select(i => 3.0 * i - 4)];
        _deviations = [.. Enumerable.Range(0, features).Select(i => 0.5 + i)];
    }

    public string Root { get; }

    public RunSpec Spec { get; private set; } = null!;

    public string File(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>Rows whose class is the sign pattern of two noisy linear functions (four classes), or whose target is their sum.</summary>
    public static TrainerFolder Tabular(bool classification = true, int rows = 640, int features = 6, Func<RunSpec, RunSpec>? change = null)
    {
        var folder = new TrainerFolder(features);
        folder.WriteData(classification, rows, features);
        folder.WriteSpec(change);
        return folder;
    }

    /// <summary>Images of 12×12 pixels: a bright bar, lying or standing, on noise.</summary>
    public static TrainerFolder Images(int rows = 320, Func<RunSpec, RunSpec>? change = null)
    {
        var folder = new TrainerFolder(0);
        folder.WriteImages(rows);
        folder.WriteSpec(s =>
        {
            s = s with { Model = new ModelSpec { Family = ModelFamily.ConvNet, Channels = [4, 8], Width = 16, Augment = true } };
            return change?.Invoke(s) ?? s;
        });
        return folder;
    }

    /// <summary>Rows of tokens of a free licence, as preprocessing packs them; the split is by place here, as there are no documents.</summary>
    public static TrainerFolder Text(int context = 64, int rows = 240, Func<RunSpec, RunSpec>? change = null)
    {
        var folder = new TrainerFolder(0);
        folder.WriteText(context, rows);
        folder.WriteSpec(s =>
        {
            s = s with { Model = new ModelSpec { Family = ModelFamily.Gpt, Width = 32, Layers = 2, Heads = 2 }, Epochs = 2, BatchSize = 16 };
            return change?.Invoke(s) ?? s;
        });
        return folder;
    }

    public void WriteSpec(Func<RunSpec, RunSpec>? change)
    {
        var spec = new RunSpec
        {
            SpecVersion = 1,
            Name = "made-up",
            ModelName = "made-up",
            DatasetId = Guid.Parse("00000000-0000-0000-0000-000000000001"),
            Model = new ModelSpec { Family = ModelFamily.TabularMlp, Width = 32, Blocks = 1 },
            Optimizer = new OptimizerSpec { LearningRate = 0.01 },
            Epochs = 4,
            BatchSize = 32,
            CheckpointEvery = 5,
            Seed = 11,
        };
        Spec = change?.Invoke(spec) ?? spec;
        System.IO.File.WriteAllBytes(File("spec.json"), RunSpecJson.Write(Spec));
    }

    /// <summary>Raw columns, as the pipeline takes them, of random rows.</summary>
    public double[] RawRow(ref SeededRandom random) => [.. Normals(ref random, _columns.Length).Select((x, i) => x * _deviations[i] + _means[i])];

    public void Dispose() => Directory.Delete(Root, recursive: true);

    /// <summary>One image, 1×12×12, and whether its bar stands.</summary>
    public static (byte[] Pixels, int Class) Image(ref SeededRandom random)
    {
        var pixels = new byte[144];
        var standing = random.Below(2);
        var at = random.Below(10) + 1;
        for (var i = 0; i < pixels.Length; i++)
        {
            var onBar = (standing == 1 ? i % 12 : i / 12) == at;
            pixels[i] = (byte)(random.Below(120) + (onBar ? 130 : 0));
        }
        return (pixels, standing);
    }

    private void WriteImages(int rows)
    {
        Directory.CreateDirectory(File("data"));
        var random = new SeededRandom(6);
        var splits = new Dictionary<string, DatasetSplit>();
        foreach (var (name, count) in ((string, int)[])[("train", rows), ("validation", rows / 4), ("test", rows / 4)])
        {
            var pixels = new List<byte>();
            var classes = new List<long>();
            for (var i = 0; i < count; i++)
            {
                var (image, standing) = Image(ref random);
                pixels.AddRange(image);
                classes.Add(standing);
            }
            splits[name] = new DatasetSplit(count, [Shard(NpyArray.Of<byte>(pixels.ToArray(), count, 1, 12, 12), NpyArray.Of<long>(classes.ToArray(), count))], null);
        }
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        var cast = graph.Node("Cast", [graph.Input("image", OnnxType.UInt8, "N", 1, 12, 12)], OnnxAttribute.Of("to", (int)OnnxType.Float));
        var unit = graph.Node("Div", [cast, graph.Scalar("scale", 255f)]);
        var centred = graph.Node("Sub", [unit, graph.Initializer(OnnxTensors.Of("mean", [0.25f], 1, 1, 1, 1))]);
        graph.NodeTo("features", "Mul", [centred, graph.Initializer(OnnxTensors.Of("factor", [4f], 1, 1, 1, 1))]);
        graph.Output("features", OnnxType.Float, "N", 1, 12, 12);
        WriteManifest(OnnxModels.ToBytes(graph.ToModel()), "image", "classification", ["lying", "standing"], [1, 12, 12],
            [new DatasetInput("image", "image", "UINT8", [-1, 1, 12, 12])], splits);
    }

    private void WriteText(int context, int rows)
    {
        Directory.CreateDirectory(File("data"));
        var text = System.IO.File.ReadAllBytes("/usr/share/common-licenses/GPL-3");
        short[] stream = [ByteTokens.Separator, .. text.Take(context * rows * 3 / 2 - 1).Select(b => (short)b), ByteTokens.Separator];
        var splits = new Dictionary<string, DatasetSplit>();
        var from = 0;
        foreach (var (name, count) in ((string, int)[])[("train", rows), ("validation", rows / 4), ("test", rows / 4)])
        {
            short[] tokens = [.. stream.Skip(from).Take(count * context)];
            long[] behind = [.. Enumerable.Range(1, count).Select(i => (long)stream[from + i * context])];
            splits[name] = new DatasetSplit(count, [Shard(NpyArray.Of<short>(tokens, count, context), NpyArray.Of<long>(behind, count))], null);
            from += count * context;
        }
        var graph = new OnnxGraph("pipeline");
        graph.NodeTo("features", "Identity", [graph.Input("text", OnnxType.Int64, "N", "T")]);
        graph.Output("features", OnnxType.Int64, "N", "T");
        WriteManifest(OnnxModels.ToBytes(graph.ToModel()), "text", "languageModeling", [.. ByteTokens.Names], [context],
            [new DatasetInput("text", "text", "INT64", [-1, -1])], splits);
    }

    private DatasetShard Shard(NpyArray features, NpyArray target)
    {
        using var stream = new MemoryStream();
        using (var writer = new ShardWriter(stream))
        {
            writer.Write(new ShardBlock(features, target));
        }
        var hash = Convert.ToHexStringLower(SHA256.HashData(stream.ToArray()));
        System.IO.File.WriteAllBytes(File("data", $"{hash}.tar"), stream.ToArray());
        return new DatasetShard(hash, stream.Length, target.Shape[0]);
    }

    private void WriteManifest(byte[] pipeline, string kind, string task, string[] classes, int[] shape, DatasetInput[] inputs, Dictionary<string, DatasetSplit> splits)
    {
        System.IO.File.WriteAllBytes(File("pipeline.onnx"), pipeline);
        System.IO.File.WriteAllBytes(File("dataset.json"), new DatasetManifest
        {
            Id = Guid.Parse("00000000-0000-0000-0000-000000000001"),
            Name = "made-up",
            Kind = kind,
            Task = task,
            Target = "y",
            Classes = classes,
            Rows = splits.Values.Sum(s => s.Rows),
            Seed = 5,
            Inputs = inputs,
            FeatureNames = _columns,
            FeatureShape = shape,
            Pipeline = new DatasetBlob(Convert.ToHexStringLower(SHA256.HashData(pipeline)), pipeline.Length),
            Splits = splits,
        }.ToBytes());
    }

    private void WriteData(bool classification, int rows, int features)
    {
        Directory.CreateDirectory(File("data"));
        var random = new SeededRandom(5);
        var splits = new Dictionary<string, DatasetSplit>
        {
            ["train"] = Split(ref random, classification, rows, features, shards: 2),
            ["validation"] = Split(ref random, classification, rows / 4, features, shards: 1),
            ["test"] = Split(ref random, classification, rows / 4, features, shards: 1),
        };
        WriteManifest(Pipeline(), "tabular", classification ? "classification" : "regression", classification ? ["none", "left", "right", "both"] : [],
            [features], [.. _columns.Select(c => new DatasetInput(c, "numeric", "FP64", [-1, 1]))], splits);
    }

    private DatasetSplit Split(ref SeededRandom random, bool classification, int rows, int features, int shards)
    {
        var files = new List<DatasetShard>();
        for (var s = 0; s < shards; s++)
        {
            var count = rows / shards;
            var x = Normals(ref random, count * features);
            var noise = Normals(ref random, 2 * count);
            var classes = new long[count];
            var numbers = new float[count];
            for (var i = 0; i < count; i++)
            {
                var first = x[i * features] + 0.5 * x[i * features + 1] + 0.2 * noise[2 * i];
                var second = x[i * features + 2] - x[i * features + 3] + 0.2 * noise[2 * i + 1];
                classes[i] = (first > 0 ? 1 : 0) + (second > 0 ? 2 : 0);
                numbers[i] = (float)(100 + 20 * (first + second));
            }
            using var shard = new MemoryStream();
            using (var writer = new ShardWriter(shard))
            {
                // Two blocks, so that reading one after the other is tried too.
                var half = count / 2;
                foreach (var (from, length) in ((int, int)[])[(0, half), (half, count - half)])
                {
                    var block = NpyArray.Of<float>([.. x.Skip(from * features).Take(length * features).Select(v => (float)v)], length, features);
                    writer.Write(new ShardBlock(block, classification ? NpyArray.Of<long>(classes.AsSpan(from, length), length) : NpyArray.Of<float>(numbers.AsSpan(from, length), length)));
                }
            }
            var bytes = shard.ToArray();
            var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
            System.IO.File.WriteAllBytes(File("data", $"{hash}.tar"), bytes);
            files.Add(new DatasetShard(hash, bytes.Length, count));
        }
        return new DatasetSplit(files.Sum(f => f.Rows), files, null);
    }

    private byte[] Pipeline()
    {
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        string[] inputs = [.. _columns.Select(c => graph.Input(c, OnnxType.Double, "N", 1))];
        var centred = graph.Node("Sub", [graph.Node("Concat", inputs, OnnxAttribute.Of("axis", 1)), graph.Initializer(OnnxTensors.Of("mean", _means, _means.Length))]);
        var scaled = graph.Node("Div", [centred, graph.Initializer(OnnxTensors.Of("deviation", _deviations, _deviations.Length))]);
        graph.NodeTo("features", "Cast", [scaled], OnnxAttribute.Of("to", (int)OnnxType.Float));
        graph.Output("features", OnnxType.Float, "N", _columns.Length);
        return OnnxModels.ToBytes(graph.ToModel());
    }

    private static double[] Normals(ref SeededRandom random, int count)
    {
        var values = new double[count];
        for (var i = 0; i < count; i++)
        {
            // Box and Muller.
            var u = ((random.Next() >> 11) + 1) * (1.0 / (1UL << 53));
            var v = (random.Next() >> 11) * (1.0 / (1UL << 53));
            values[i] = Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v);
        }
        return values;
    }
}
