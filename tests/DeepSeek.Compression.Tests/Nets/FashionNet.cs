using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Compression.Tests.Nets;

/// <summary>
/// A real convolutional classifier, made once for all tests that share it: fixed random filters with batch normalisation by
/// the statistics of the data, and a dense head trained on 4 000 images. In the form the trainer exports: uint8 images in,
/// pipeline/ nodes that scale them, then the net, label and probabilities out.
/// </summary>
public sealed class FashionNet
{
    private const int Hidden = 64;

    private static readonly Lazy<FashionNet> s_shared = new(() => new FashionNet());

    public static FashionNet Shared => s_shared.Value;

    private FashionNet()
    {
        Train = FashionMnist.Train(4000);
        Test = FashionMnist.Test(2000);
        var random = new Random(5);
        var conv1 = Filters(random, 16, 1);
        var bn1 = Statistics(Graph(conv1, null, null, null, null), "c1");
        var conv2 = Filters(random, 32, 16);
        var bn2 = Statistics(Graph(conv1, bn1, conv2, null, null), "c2");
        var features = Rows(Graph(conv1, bn1, conv2, bn2, null), "flat", Train);
        var head = new TinyMlp(features[0].Length, Hidden, 10, seed: 1);
        head.Train(features, Train.Labels, epochs: 4, rate: 1e-3f, seed: 2);
        Model = Graph(conv1, bn1, conv2, bn2, head);
    }

    public FashionMnist Train { get; }

    public FashionMnist Test { get; }

    public ModelProto Model { get; }

    public IReadOnlyList<ModelBatch> Calibration => Batches(Train, 256);

    public static IReadOnlyList<ModelBatch> Batches(FashionMnist data, int count, int batch = 64) =>
        [.. Enumerable.Range(0, count).Chunk(batch).Select(rows => new ModelBatch(rows.Length,
            [new ModelInput("image", [rows.Length, 1, 28, 28], data.Pixels.AsSpan(rows[0] * FashionMnist.PixelsPerImage, rows.Length * FashionMnist.PixelsPerImage).ToArray())]))];

    /// <summary>One row of values per image.</summary>
    public static float[][] Rows(ModelProto model, string value, FashionMnist data, int? count = null)
    {
        using var session = ModelSession.Open(GraphOrder.Extract(model, [value]));
        var rows = new List<float[]>();
        foreach (var batch in Batches(data, count ?? data.Count))
        {
            using var results = batch.Run(session, [value]);
            var values = results[0].GetTensorDataAsSpan<float>().ToArray();
            rows.AddRange(values.Chunk(values.Length / batch.Rows));
        }
        return [.. rows];
    }

    public static double Accuracy(float[][] scores, int[] labels) =>
        scores.Zip(labels, (s, l) => Array.IndexOf(s, s.Max()) == l).Count(hit => hit) / (double)scores.Length;

    public static double Agreement(float[][] a, float[][] b) =>
        a.Zip(b, (x, y) => Array.IndexOf(x, x.Max()) == Array.IndexOf(y, y.Max())).Count(same => same) / (double)a.Length;

    private static float[] Filters(Random random, int outputs, int inputs)
    {
        var scale = Math.Sqrt(2.0 / (inputs * 9));
        return [.. Enumerable.Range(0, outputs * inputs * 9).Select(_ => (float)(Normal(random) * scale))];
    }

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    private (float[] Mean, float[] Variance) Statistics(ModelProto model, string value)
    {
        var rows = Rows(model, value, Train, 512);
        var channels = value == "c1" ? 16 : 32;
        var size = rows[0].Length / channels;
        var mean = Enumerable.Range(0, channels).Select(c => rows.Average(r => r.AsSpan(c * size, size).ToArray().Average())).ToArray();
        var variance = Enumerable.Range(0, channels).Select(c => rows.Average(r => r.Skip(c * size).Take(size).Average(v => (v - mean[c]) * (v - mean[c])))).ToArray();
        return ([.. mean], [.. variance]);
    }

    private static ModelProto Graph(float[] conv1, (float[] Mean, float[] Variance)? bn1, float[]? conv2, (float[] Mean, float[] Variance)? bn2, TinyMlp? head)
    {
        var net = new OnnxGraph("net");
        var last = "c1";
        net.Input("features", OnnxType.Float, "N", 1, 28, 28);
        Conv(net, "features", conv1, 16, 1, "c1");
        if (bn1 is { } one)
        {
            last = "c2";
            Conv(net, Stage(net, "c1", one, "p1"), conv2!, 32, 16, "c2");
        }
        if (bn2 is { } two)
        {
            last = "flat";
            net.NodeTo("flat", "Flatten", [Stage(net, "c2", two, "p2")]);
        }
        if (head is null)
        {
            net.Output(last, OnnxType.Float);
            return Join(net);
        }
        net.NodeTo("h", "Gemm", ["flat", net.Initializer(OnnxTensors.Of("w1", head.First.W, Hidden, head.First.Inputs)), net.Initializer(OnnxTensors.Of("b1", head.First.B, Hidden))], OnnxAttribute.Of("transB", 1));
        net.NodeTo("r", "Relu", ["h"]);
        net.NodeTo("logits", "Identity", [net.Node("Gemm", ["r", net.Initializer(OnnxTensors.Of("w2", head.Second.W, 10, Hidden)), net.Initializer(OnnxTensors.Of("b2", head.Second.B, 10))], OnnxAttribute.Of("transB", 1))]);
        net.NodeTo("probabilities", "Softmax", ["logits"], OnnxAttribute.Of("axis", 1));
        net.NodeTo("index", "ArgMax", ["logits"], OnnxAttribute.Of("axis", 1), OnnxAttribute.Of("keepdims", 0));
        net.Import(OnnxGraph.MlDomain, 3).Nodes("LabelEncoder", OnnxGraph.MlDomain, ["index"], ["label"],
            OnnxAttribute.Of("keys_int64s", Enumerable.Range(0, 10).Select(i => (long)i)), OnnxAttribute.Of("values_strings", FashionMnist.Classes));
        net.Output("label", OnnxType.String, "N");
        net.Output("probabilities", OnnxType.Float, "N", 10);
        net.Metadata("deepseek.model", """{"task":"classification"}""");
        return Join(net);
    }

    private static string Stage(OnnxGraph net, string input, (float[] Mean, float[] Variance) bn, string output)
    {
        var n = bn.Mean.Length;
        var normal = net.Node("BatchNormalization", [input, net.Initializer(OnnxTensors.Of("gamma", Enumerable.Repeat(1f, n).ToArray(), n)),
            net.Initializer(OnnxTensors.Of("beta", new float[n], n)), net.Initializer(OnnxTensors.Of("mean", bn.Mean, n)), net.Initializer(OnnxTensors.Of("variance", bn.Variance, n))]);
        var pooled = net.Node("MaxPool", [normal], OnnxAttribute.Of("kernel_shape", [2L, 2L]), OnnxAttribute.Of("strides", [2L, 2L]));
        net.NodeTo(output, "Relu", [pooled]);
        return output;
    }

    private static void Conv(OnnxGraph net, string input, float[] filters, int outputs, int inputs, string output) =>
        net.NodeTo(output, "Conv", [input, net.Initializer(OnnxTensors.Of("k_" + output, filters, outputs, inputs, 3, 3))], OnnxAttribute.Of("pads", [1L, 1L, 1L, 1L]));

    private static ModelProto Join(OnnxGraph net)
    {
        var pipeline = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        pipeline.Input("image", OnnxType.UInt8, "N", 1, 28, 28);
        var real = pipeline.Node("Cast", ["image"], OnnxAttribute.Of("to", (int)OnnxType.Float));
        var unit = pipeline.Node("Div", [real, pipeline.Scalar("full", 255f)]);
        var centred = pipeline.Node("Sub", [unit, pipeline.Scalar("mean", 0.2860f)]);
        pipeline.NodeTo("features", "Div", [centred, pipeline.Scalar("deviation", 0.3530f)]);
        pipeline.Output("features", OnnxType.Float, "N", 1, 28, 28);
        return OnnxModels.Join(pipeline.ToModel(), net.ToModel(), new Dictionary<string, string> { ["features"] = "features" }, "pipeline/");
    }
}
