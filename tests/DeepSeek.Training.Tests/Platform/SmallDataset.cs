using System.Security.Cryptography;
using DeepSeek.Data;
using DeepSeek.Onnx;

namespace DeepSeek.Training.Tests.Platform;

/// <summary>A prepared dataset of two columns whose classes a line separates, with all its blobs.</summary>
internal sealed class SmallDataset
{
    private const int Features = 2;
    private static readonly double[] Mean = [10, -3];
    private static readonly double[] Deviation = [2, 0.5];

    private readonly Dictionary<string, byte[]> _blobs = [];

    public SmallDataset()
    {
        var random = new Random(42);
        var pipeline = Add(Pipeline());
        var manifest = new DatasetManifest
        {
            Id = Guid.NewGuid(),
            Name = "line",
            Kind = "tabular",
            Task = "classification",
            Target = "side",
            Classes = ["left", "right"],
            Rows = 640,
            Seed = 42,
            Inputs = [new("a", "numeric", "FP64", [-1, 1]), new("b", "numeric", "FP64", [-1, 1])],
            FeatureNames = ["a", "b"],
            FeatureShape = [Features],
            Pipeline = new DatasetBlob(pipeline, _blobs[pipeline].Length),
            Splits = new Dictionary<string, DatasetSplit>
            {
                ["train"] = Split(random, 384),
                ["validation"] = Split(random, 128),
                ["test"] = Split(random, 128),
            },
        };
        Id = manifest.Id;
        ManifestSha256 = Add(manifest.ToBytes());
    }

    public Guid Id { get; }

    public string ManifestSha256 { get; }

    public IReadOnlyDictionary<string, byte[]> Blobs => _blobs;

    private DatasetSplit Split(Random random, int rows)
    {
        var x = new float[rows * Features];
        var y = new long[rows];
        for (var row = 0; row < rows; row++)
        {
            x[row * Features] = (float)((random.NextDouble() * 4) - 2);
            x[(row * Features) + 1] = (float)((random.NextDouble() * 4) - 2);
            y[row] = x[row * Features] + x[(row * Features) + 1] > 0 ? 1 : 0;
        }
        using var shard = new MemoryStream();
        using (var writer = new ShardWriter(shard))
        {
            writer.Write(new ShardBlock(NpyArray.Of<float>(x, rows, Features), NpyArray.Of<long>(y, rows)));
        }
        var sha256 = Add(shard.ToArray());
        return new DatasetSplit(rows, [new DatasetShard(sha256, shard.Length, rows)], null);
    }

    private static byte[] Pipeline()
    {
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        string[] inputs = [graph.Input("a", OnnxType.Double, "N", 1), graph.Input("b", OnnxType.Double, "N", 1)];
        var centred = graph.Node("Sub", [graph.Node("Concat", inputs, OnnxAttribute.Of("axis", 1)), graph.Initializer(OnnxTensors.Of("mean", Mean, Features))]);
        var scaled = graph.Node("Div", [centred, graph.Initializer(OnnxTensors.Of("deviation", Deviation, Features))]);
        graph.NodeTo("features", "Cast", [scaled], OnnxAttribute.Of("to", (int)OnnxType.Float));
        graph.Output("features", OnnxType.Float, "N", Features);
        return OnnxModels.ToBytes(graph.ToModel());
    }

    private string Add(byte[] bytes)
    {
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes));
        _blobs[sha256] = bytes;
        return sha256;
    }
}
