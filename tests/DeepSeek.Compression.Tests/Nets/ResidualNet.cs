using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Compression.Tests.Nets;

/// <summary>
/// A residual MLP in the trainer's form: stem, blocks of BatchNormalization → Gemm → ReLU → Gemm → Add, then
/// normalisation and head, with dense layers written as MatMul + Add where asked. Weights are random: only its arithmetic is tested.
/// </summary>
public static class ResidualNet
{
    public const int Inputs = 12;
    private const int Width = 32;

    public static ModelProto Make(bool matMul = false, string activation = "Relu", int seed = 4)
    {
        var random = new Random(seed);
        var g = new OnnxGraph("residual");
        g.Input("features", OnnxType.Float, "N", Inputs);
        var x = Dense("features", Inputs, Width);
        for (var block = 0; block < 2; block++)
        {
            var h = g.Node(activation, [Dense(Normal(x), Width, 2 * Width)]);
            x = g.Node("Add", [x, Dense(h, 2 * Width, Width)]);
        }
        g.NodeTo("logits", "Identity", [Dense(g.Node("Dropout", [g.Node("Relu", [Normal(x)])]), Width, 3)]);
        g.Output("logits", OnnxType.Float, "N", 3);
        return g.ToModel();

        string Dense(string input, int k, int n)
        {
            var b = g.Initializer(OnnxTensors.Of("b", Values(n, 0.3), n));
            if (matMul)
                return g.Node("Add", [g.Node("MatMul", [input, g.Initializer(OnnxTensors.Of("w", Values(k * n, 1 / Math.Sqrt(k)), k, n))]), b]);
            return g.Node("Gemm", [input, g.Initializer(OnnxTensors.Of("w", Values(k * n, 1 / Math.Sqrt(k)), n, k)), b], OnnxAttribute.Of("transB", 1));
        }

        string Normal(string input) => g.Node("BatchNormalization",
        [
            input, g.Initializer(OnnxTensors.Of("gamma", Values(Width, 1, 1), Width)), g.Initializer(OnnxTensors.Of("beta", Values(Width, 0.5), Width)),
            g.Initializer(OnnxTensors.Of("mean", Values(Width, 0.5), Width)), g.Initializer(OnnxTensors.Of("variance", [.. Values(Width, 0.4).Select(v => 1 + v)], Width)),
        ]);

        float[] Values(int n, double scale, double offset = 0) => [.. Enumerable.Range(0, n).Select(_ => (float)(offset + (random.NextDouble() * 2 - 1) * scale * (offset == 0 ? 1 : 0.5)))];
    }

    public static IReadOnlyList<ModelBatch> Rows(int count, int seed = 9)
    {
        var random = new Random(seed);
        return [new ModelBatch(count, [new ModelInput("features", [count, Inputs], Enumerable.Range(0, count * Inputs).Select(_ => (float)(random.NextDouble() * 4 - 2)).ToArray())])];
    }

    public static float[] Run(ModelProto model, IReadOnlyList<ModelBatch> rows)
    {
        using var session = ModelSession.Open(model);
        using var results = rows[0].Run(session, ["logits"]);
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }
}
