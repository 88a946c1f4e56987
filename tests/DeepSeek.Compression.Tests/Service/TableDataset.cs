using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;
using Onnx;

namespace DeepSeek.Compression.Tests.Service;

/// <summary>
/// Rows (a, b, city) whose class is "yes" where a + 1 for Paris exceeds b². The first <see cref="Shared"/> train rows are also the first test rows.
/// </summary>
public static class TableDataset
{
    public const int Shared = 10;
    public const int TestRows = 400;
    private const int TrainRows = 1500;
    private static readonly string[] Cities = ["Paris", "Rome", ""];

    public static async Task<string> StoreAsync(BlobClient blobs, string task = "classification")
    {
        var test = Rows(TestRows, 2);
        Row[] train = [.. test.Take(Shared), .. Rows(TrainRows, 1)];
        var manifest = new DatasetManifest
        {
            Id = Guid.CreateVersion7(),
            Name = "circles",
            Kind = "tabular",
            Task = task,
            Target = "inside",
            Classes = task == "classification" ? ["no", "yes"] : [],
            Rows = TrainRows + TestRows,
            Inputs = [new("a", "numeric", "FP64", [-1, 1]), new("b", "numeric", "FP64", [-1, 1]), new("city", "categorical", "BYTES", [-1, 1])],
            FeatureShape = [4],
            Splits = new Dictionary<string, DatasetSplit>
            {
                ["train"] = await SplitAsync(blobs, train, task),
                ["test"] = await SplitAsync(blobs, test, task),
            },
        };
        return (await blobs.UploadAsync(manifest.ToBytes())).Sha256;
    }

    /// <summary>A net of 4 → 256 → 2 trained on the rows.</summary>
    public static ModelProto TrainedModel()
    {
        var rows = Rows(TrainRows, 1);
        var mlp = new TinyMlp(4, 256, 2, seed: 3);
        mlp.Train([.. rows.Select(r => new[] { (float)r.A, (float)r.B, r.City == "Paris" ? 1f : 0, r.City == "Rome" ? 1f : 0 })], [.. rows.Select(r => r.Label)], epochs: 20, rate: 3e-3f, seed: 4);
        var net = new OnnxGraph("net");
        net.Input("features", OnnxType.Float, "N", 4);
        var hidden = net.Node("Relu", [net.Node("Gemm", ["features", net.Initializer(OnnxTensors.Of("w1", mlp.First.W, 256, 4)), net.Initializer(OnnxTensors.Of("b1", mlp.First.B, 256))], OnnxAttribute.Of("transB", 1))]);
        net.NodeTo("logits", "Gemm", [hidden, net.Initializer(OnnxTensors.Of("w2", mlp.Second.W, 2, 256)), net.Initializer(OnnxTensors.Of("b2", mlp.Second.B, 2))], OnnxAttribute.Of("transB", 1));
        return Join(net, 1);
    }

    /// <summary>Decides by a alone, but its features lie beside b in millions: no 8-bit scale holds both.</summary>
    public static ModelProto FragileModel()
    {
        var net = new OnnxGraph("net");
        net.Input("features", OnnxType.Float, "N", 4);
        net.NodeTo("logits", "Gemm", ["features", net.Initializer(OnnxTensors.Of("w", [-50f, 50f, 0f, 0f, 0f, 0f, 0f, 0f], 4, 2))]);
        return Join(net, 1e6f);
    }

    /// <summary>The regression's own formula as a dense layer, so that its R² is 1.</summary>
    public static ModelProto RegressionModel()
    {
        var net = new OnnxGraph("net").Import(OnnxGraph.MlDomain, 3);
        net.Input("features", OnnxType.Float, "N", 4);
        net.NodeTo("logits", "Gemm", ["features", net.Initializer(OnnxTensors.Of("w", [1f, -0.5f, 1f, 0f], 4, 1)), net.Initializer(OnnxTensors.Of("b", [0f], 1))]);
        net.NodeTo("prediction", "Identity", ["logits"]);
        net.Output("prediction", OnnxType.Float, "N", 1);
        return OnnxModels.Join(Pipeline(1), net.ToModel(), new Dictionary<string, string> { ["features"] = "features" }, "pipeline/");
    }

    private static ModelProto Join(OnnxGraph net, float scaleOfB)
    {
        net.NodeTo("probabilities", "Softmax", ["logits"], OnnxAttribute.Of("axis", 1));
        net.NodeTo("label", "Gather", [net.Initializer(OnnxTensors.Of("classes", ["no", "yes"], 2)), net.Node("ArgMax", ["logits"], OnnxAttribute.Of("axis", 1), OnnxAttribute.Of("keepdims", 0))], OnnxAttribute.Of("axis", 0));
        net.Output("label", OnnxType.String, "N");
        net.Output("probabilities", OnnxType.Float, "N", 2);
        net.Import(OnnxGraph.MlDomain, 3);
        return OnnxModels.Join(Pipeline(scaleOfB), net.ToModel(), new Dictionary<string, string> { ["features"] = "features" }, "pipeline/");
    }

    private static ModelProto Pipeline(float scaleOfB)
    {
        var p = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        var a = p.Node("Cast", [p.Input("a", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (int)OnnxType.Float));
        var b = p.Node("Mul", [p.Node("Cast", [p.Input("b", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (int)OnnxType.Float)), p.Scalar("scale", scaleOfB)]);
        var city = p.Input("city", OnnxType.String, "N", 1);
        string Is(string name) => p.MlNode("LabelEncoder", [city], OnnxAttribute.Of("keys_strings", new[] { name }), OnnxAttribute.Of("values_floats", new[] { 1f }), OnnxAttribute.Of("default_float", 0f));
        p.NodeTo("features", "Concat", [a, b, Is("Paris"), Is("Rome")], OnnxAttribute.Of("axis", 1));
        p.Output("features", OnnxType.Float, "N", 4);
        return p.ToModel();
    }

    private sealed record Row(double A, double B, string City)
    {
        /// <summary>Target of the regression.</summary>
        public double Value => A - 0.5 * B + (City == "Paris" ? 1 : 0);

        public int Label => A + (City == "Paris" ? 1 : 0) > B * B ? 1 : 0;
    }

    private static Row[] Rows(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => new Row(random.NextDouble() * 4 - 2, random.NextDouble() * 4 - 2, Cities[random.Next(3)]))];
    }

    private static async Task<DatasetSplit> SplitAsync(BlobClient blobs, Row[] rows, string task)
    {
        var gzip = new MemoryStream();
        await using (var stream = new GZipStream(gzip, CompressionLevel.Fastest))
        {
            foreach (var row in rows)
            {
                var target = task == "classification" ? (object)(row.Label == 1 ? "yes" : "no") : row.Value;
                var line = JsonSerializer.Serialize(new { inputs = new { a = row.A, b = row.B, city = row.City.Length == 0 ? null : row.City }, target });
                stream.Write(Encoding.UTF8.GetBytes(line.ToString(CultureInfo.InvariantCulture) + "\n"));
            }
        }
        var sample = await blobs.UploadAsync(gzip.ToArray());
        return new DatasetSplit(rows.Length, [], new DatasetSample(sample.Sha256, sample.Bytes, rows.Length));
    }
}
