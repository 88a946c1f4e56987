using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>Work folders for the trainer over the two data sets of the quickstart, to measure accuracy and time without the platform.</summary>
internal static class QuickstartFolders
{
    private static readonly Guid s_dataset = new("00000000-0000-0000-0000-000000000001");

    internal static int Fashion(string source, string work)
    {
        var (trainImages, trainLabels) = (Idx(source, "train-images-idx3-ubyte.gz", 16), Idx(source, "train-labels-idx1-ubyte.gz", 8));
        var (testImages, testLabels) = (Idx(source, "t10k-images-idx3-ubyte.gz", 16), Idx(source, "t10k-labels-idx1-ubyte.gz", 8));
        string[] classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
        var splits = new Dictionary<string, DatasetSplit>
        {
            ["train"] = Images(work, trainImages, trainLabels, 0, 57_000),
            ["validation"] = Images(work, trainImages, trainLabels, 57_000, 60_000),
            ["test"] = Images(work, testImages, testLabels, 0, 10_000),
        };
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        var cast = graph.Node("Cast", [graph.Input("image", OnnxType.UInt8, "N", 1, 28, 28)], OnnxAttribute.Of("to", (int)OnnxType.Float));
        // Mean and deviation of the training pixels.
        var centred = graph.Node("Sub", [cast, graph.Scalar("mean", 72.94f)]);
        graph.NodeTo("features", "Div", [centred, graph.Scalar("deviation", 90.02f)]);
        graph.Output("features", OnnxType.Float, "N", 1, 28, 28);
        Write(work, graph, "image", classes, 70_000, [1, 28, 28], [new DatasetInput("image", "image", "UINT8", [-1, 1, 28, 28])], splits, new RunSpec
        {
            SpecVersion = 1,
            Name = "Fashion-MNIST",
            ModelName = "fashion-mnist",
            DatasetId = s_dataset,
            Model = new ModelSpec { Family = ModelFamily.ConvNet },
            Optimizer = new OptimizerSpec { LearningRate = 3e-3 },
            Schedule = new ScheduleSpec { Name = ScheduleName.OneCycle },
            Epochs = 5,
            BatchSize = 128,
            Seed = 1,
        });
        return 0;
    }

    internal static int BreastCancer(string csv, string work)
    {
        var lines = File.ReadAllLines(csv);
        var columns = lines[0].Split(',');
        var rows = lines.Skip(1).Select(l => l.Split(',')).ToArray();
        new SeededRandom(7).Shuffle(rows.AsSpan());
        var features = columns.Length - 1;
        string[] classes = [.. rows.Select(r => r[^1]).Distinct().Order(StringComparer.Ordinal)];
        var values = rows.Select(r => r.Take(features).Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray()).ToArray();
        var train = values[..341];
        double[] mean = [.. Enumerable.Range(0, features).Select(f => train.Average(r => r[f]))];
        double[] deviation = [.. Enumerable.Range(0, features).Select(f => Math.Sqrt(train.Average(r => Math.Pow(r[f] - mean[f], 2))))];
        DatasetSplit Split(int from, int to) => Shard(work, to - from, NpyArray.Of<float>(
            [.. values[from..to].SelectMany(r => r.Select((v, f) => (float)((v - mean[f]) / deviation[f])))], to - from, features),
            [.. rows[from..to].Select(r => (long)Array.IndexOf(classes, r[^1]))]);
        var splits = new Dictionary<string, DatasetSplit> { ["train"] = Split(0, 341), ["validation"] = Split(341, 455), ["test"] = Split(455, rows.Length) };
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        string[] inputs = [.. columns.Take(features).Select(c => graph.Input(c, OnnxType.Double, "N", 1))];
        var centred = graph.Node("Sub", [graph.Node("Concat", inputs, OnnxAttribute.Of("axis", 1)), graph.Initializer(OnnxTensors.Of("mean", mean, features))]);
        graph.NodeTo("features", "Cast", [graph.Node("Div", [centred, graph.Initializer(OnnxTensors.Of("deviation", deviation, features))])], OnnxAttribute.Of("to", (int)OnnxType.Float));
        graph.Output("features", OnnxType.Float, "N", features);
        Write(work, graph, "tabular", classes, rows.Length, [features], [.. inputs.Select(c => new DatasetInput(c, "numeric", "FP64", [-1, 1]))], splits, new RunSpec
        {
            SpecVersion = 1,
            Name = "breast cancer",
            ModelName = "breast-cancer",
            DatasetId = s_dataset,
            Model = new ModelSpec { Family = ModelFamily.TabularMlp, Dropout = 0.3 },
            LabelSmoothing = 0.1,
            Epochs = 20,
            BatchSize = 32,
            Seed = 1,
        });
        return 0;
    }

    /// <summary>All files of a folder, one behind the other, as rows of tokens; 80, 10 and 10 % of them by place.</summary>
    internal static int Texts(string source, string work, int context)
    {
        short[] stream = [.. Directory.GetFiles(source).Order(StringComparer.Ordinal).SelectMany(f => File.ReadAllBytes(f).Select(b => (short)b).Prepend((short)ByteTokens.Separator))];
        var rows = (stream.Length - 1) / context;
        DatasetSplit Split(int from, int to) => Shard(work, to - from, NpyArray.Of<short>(stream.AsSpan(from * context, (to - from) * context), to - from, context),
            [.. Enumerable.Range(from + 1, to - from).Select(i => (long)stream[i * context])]);
        var splits = new Dictionary<string, DatasetSplit> { ["train"] = Split(0, rows * 8 / 10), ["validation"] = Split(rows * 8 / 10, rows * 9 / 10), ["test"] = Split(rows * 9 / 10, rows) };
        var graph = new OnnxGraph("pipeline");
        graph.NodeTo("features", "Identity", [graph.Input("text", OnnxType.Int64, "N", "T")]);
        graph.Output("features", OnnxType.Int64, "N", "T");
        Write(work, graph, "text", [.. ByteTokens.Names], rows, [context], [new DatasetInput("text", "text", "INT64", [-1, -1])], splits, new RunSpec
        {
            SpecVersion = 1,
            Name = "texts",
            ModelName = "texts",
            DatasetId = s_dataset,
            Model = new ModelSpec { Family = ModelFamily.Gpt },
            Optimizer = new OptimizerSpec { LearningRate = 3e-3 },
            Schedule = new ScheduleSpec { Name = ScheduleName.Cosine, Warmup = 0.1 },
            Epochs = 4,
            BatchSize = 32,
            Seed = 1,
        });
        return 0;
    }

    private static DatasetSplit Images(string work, byte[] images, byte[] labels, int from, int to)
    {
        const int pixels = 28 * 28;
        return Shard(work, to - from, NpyArray.Of<byte>(images.AsSpan(from * pixels, (to - from) * pixels), to - from, 1, 28, 28), [.. labels[from..to].Select(l => (long)l)]);
    }

    private static DatasetSplit Shard(string work, int rows, NpyArray features, long[] target)
    {
        Directory.CreateDirectory(Path.Combine(work, "data"));
        using var stream = new MemoryStream();
        using (var writer = new ShardWriter(stream))
        {
            writer.Write(new ShardBlock(features, NpyArray.Of<long>(target, rows)));
        }
        var hash = Convert.ToHexStringLower(SHA256.HashData(stream.ToArray()));
        File.WriteAllBytes(Path.Combine(work, "data", $"{hash}.tar"), stream.ToArray());
        return new DatasetSplit(rows, [new DatasetShard(hash, stream.Length, rows)], null);
    }

    private static void Write(string work, OnnxGraph pipeline, string kind, string[] classes, int rows, int[] shape, DatasetInput[] inputs, Dictionary<string, DatasetSplit> splits, RunSpec spec)
    {
        var bytes = OnnxModels.ToBytes(pipeline.ToModel());
        File.WriteAllBytes(Path.Combine(work, "pipeline.onnx"), bytes);
        File.WriteAllBytes(Path.Combine(work, "spec.json"), RunSpecJson.Write(spec));
        File.WriteAllBytes(Path.Combine(work, "dataset.json"), new DatasetManifest
        {
            Id = s_dataset,
            Name = spec.ModelName,
            Kind = kind,
            Task = kind == "text" ? "languageModeling" : "classification",
            Target = "class",
            Classes = classes,
            Rows = rows,
            Inputs = inputs,
            FeatureShape = shape,
            Pipeline = new DatasetBlob(Convert.ToHexStringLower(SHA256.HashData(bytes)), bytes.Length),
            Splits = splits,
        }.ToBytes());
    }

    private static byte[] Idx(string folder, string name, int header)
    {
        using var file = new GZipStream(File.OpenRead(Path.Combine(folder, name)), CompressionMode.Decompress);
        using var all = new MemoryStream();
        file.CopyTo(all);
        var bytes = all.ToArray();
        var magic = BinaryPrimitives.ReadInt32BigEndian(bytes);
        return magic == (header == 16 ? 0x803 : 0x801) ? bytes[header..] : throw new InvalidDataException($"{name} is no IDX file of bytes.");
    }
}
