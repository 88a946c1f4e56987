using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Quantization;
using DeepSeek.Inference.Tests.Generation;
using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Compression.Tests.Quantization;

/// <summary>A language model that goes on from keys and values, in 8 bits.</summary>
public sealed class CachedModelTests
{
    private const int Length = 40;
    private const string Key = "past_key_values.0.key";
    private const string Value = "past_key_values.0.value";

    // Block-sparse attention too: whatever attends, at a density of 1 a cache changes nothing. The operator and its function go through as they are.
    [Theory]
    [InlineData(null)]
    [InlineData(1f)]
    public void Quantize_ModelWithACache_GoesOnFromItAsOverTheWholeText(float? density)
    {
        var random = new Random(1);
        long[] Text() => [256, .. Enumerable.Range(1, Length - 1).Select(_ => (long)random.Next(256))];
        var model = OnnxModels.Load(AttendingModel.Onnx(Length, cached: true, density: density));
        ModelBatch[] calibration = [new(8, [new ModelInput("story", [8, Length], Enumerable.Range(0, 8).SelectMany(_ => Text()).ToArray())])];

        var quantized = StaticQuantizer.Quantize(model, calibration, new QuantizationOptions());

        Assert.Equal(5, quantized.Layers.Count); // of queries, keys, values, their mixture, and the head
        Assert.Equal(density is null ? 0 : 1, quantized.Model.Graph.Node.Count(n => n.OpType == BlockSparseNode.OpType));
        Assert.Equal(model.Functions, quantized.Model.Functions);
        Assert.Equal(model.Opset(BlockSparseNode.Domain), quantized.Model.Opset(BlockSparseNode.Domain));
        using var int8 = ModelSession.Open(quantized.Model);
        using var fp32 = ModelSession.Open(model);
        Assert.Equal(["story"], int8.InputNames);
        var text = Text();
        var exact = Whole(fp32, text);
        var whole = Whole(int8, text);
        var stepped = TokenByToken(int8, text);

        // What 8 bits cost, and what the order of sums costs on top of it: a value near the middle of two steps may take the other one.
        var cost = Differences(exact, whole);
        var apart = Differences(whole, stepped);
        Assert.True(apart.Max() <= cost.Max() && apart.Average() <= 0.05 * cost.Average(), $"8 bits: {cost.Average()} on average, {cost.Max()} at most; token by token: {apart.Average()}, {apart.Max()}");
        Assert.All(Enumerable.Range(0, Length), t => Assert.Equal(Best(whole, t), Best(stepped, t)));
    }

    private static double[] Differences(float[] a, float[] b) => [.. a.Zip(b, (x, y) => (double)Math.Abs(x - y))];

    private static int Best(float[] logits, int token) => Array.IndexOf(logits[(token * 257)..((token + 1) * 257)], logits[(token * 257)..((token + 1) * 257)].Max());

    private static float[] Whole(InferenceSession session, long[] text)
    {
        using var results = new ModelBatch(1, [new ModelInput("story", [1, text.Length], text)]).Run(session, ["logits"]);
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }

    private static float[] TokenByToken(InferenceSession session, long[] text)
    {
        using var options = new RunOptions();
        var logits = new List<float>();
        OrtValue[] past = [];
        foreach (var token in text)
        {
            using var id = OrtValue.CreateTensorValueFromMemory([token], [1, 1]);
            string[] names = past.Length == 0 ? ["story"] : ["story", Key, Value];
            var outputs = session.Run(options, names, [id, .. past], ["logits", "present.0.key", "present.0.value"]);
            logits.AddRange(outputs[0].GetTensorDataAsSpan<float>());
            Array.ForEach(past, p => p.Dispose());
            past = [outputs[1], outputs[2]];
        }

        return [.. logits];
    }
}
