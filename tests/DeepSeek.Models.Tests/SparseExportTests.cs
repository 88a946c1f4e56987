using DeepSeek.Engine.Export;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Models.Tests;

/// <summary>Nets with block-sparse attention as ONNX: dense on any runtime, by the policy in the platform's sessions.</summary>
public sealed class SparseExportTests
{
    // Logits of a few units through two layers in float32.
    private const double Near = 1e-4;
    private const int Vocabulary = 29;

    private static readonly SparsePolicy s_policy = new()
    {
        Density = 0.4, WindowBlocks = 0, QueryBlock = 16, KeyBlock = 16, Stride = 8, Estimate = BlockEstimate.Sampled, Power = 2, SharedBudget = true,
    };

    private static readonly GptConfig s_config = new() { Vocabulary = Vocabulary, Length = 160, Width = 24, Layers = 2, Heads = 3, Sparse = s_policy };

    public static TheoryData<bool> Runtimes => [false, true];

    [Theory]
    [MemberData(nameof(Runtimes))]
    public void Gpt_RowsOfDifferentLengths_AreWhatTheEngineMakesOfEachAlone(bool platform)
    {
        using var net = Filled(new Gpt(s_config));
        using var reference = Reference(net, platform);
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        using var session = Open(platform, Write(net));
        int[] lengths = [150, 83, 5];
        var texts = lengths.Select((length, row) => Ids(row, length)).ToArray();
        long[] padded = [.. texts.SelectMany(t => t.Concat(Enumerable.Repeat(-1L, 150 - t.Length)))];

        var logits = Run(session, [3, 150], padded);

        for (var row = 0; row < lengths.Length; row++)
        {
            var expected = reference.Forward(Tensor.From<long>(texts[row], 1, lengths[row])).ToArray<float>();
            Equal(expected, logits.AsSpan(row * 150 * Vocabulary, expected.Length), $"row {row}");
        }
    }

    // The prompt, a portion of three and single tokens, each choosing for itself as the engine does in the same portions.
    [Theory]
    [MemberData(nameof(Runtimes))]
    public void Gpt_GoingOnFromItsCache_IsWhatTheEngineMakesOfTheSamePortions(bool platform)
    {
        using var net = Filled(new Gpt(s_config));
        using var reference = Reference(net, platform);
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        using var session = Open(platform, Write(net));
        using var options = new RunOptions();
        var text = Ids(7, 120);
        string[] parts = ["0.key", "0.value", "1.key", "1.value"];
        var past = new Dictionary<string, OrtValue>();
        Tensor[] held = [.. parts.Select(_ => Tensor.From<float>([], 1, 3, 0, 8))];

        int[] cuts = [0, 90, 93, 94, 95, 96, 97, 98];
        foreach (var (start, end) in cuts.Zip(cuts.Skip(1)))
        {
            var present = new Tensor[parts.Length];
            var expected = ((ICachedDecoder)reference).Continue(Tensor.From<long>(text[start..end], 1, end - start), held, present).ToArray<float>();
            held = present;
            using var ids = OrtValue.CreateTensorValueFromMemory(text[start..end], [1, end - start]);
            var outputs = session.Run(options, ["features", .. past.Keys], [ids, .. past.Values], ["logits", .. parts.Select(p => KeyValueNames.Present + p)]);
            Equal(expected, outputs[0].GetTensorDataAsSpan<float>(), $"tokens {start} to {end}");
            past = parts.Zip(outputs.Skip(1)).ToDictionary(p => KeyValueNames.Past + p.First, p => p.Second);
        }
    }

    // While no more blocks are in sight than sink and diagonal, every token sees everything, in portions or at once.
    [Theory]
    [MemberData(nameof(Runtimes))]
    public void Gpt_WithinTheBlocksThatAlwaysStay_PortionsChangeNothing(bool platform)
    {
        using var net = Filled(new Gpt(s_config));
        using var session = Open(platform, Write(net));
        using var options = new RunOptions();
        var text = Ids(8, 32);
        var whole = Run(session, [1, 32], text);
        string[] parts = ["0.key", "0.value", "1.key", "1.value"];
        OrtValue[] past = [];
        var stepped = new List<float>();
        foreach (var token in text)
        {
            using var id = OrtValue.CreateTensorValueFromMemory([token], [1, 1]);
            string[] names = past.Length == 0 ? ["features"] : ["features", .. parts.Select(p => KeyValueNames.Past + p)];
            var outputs = session.Run(options, names, [id, .. past], ["logits", .. parts.Select(p => KeyValueNames.Present + p)]);
            stepped.AddRange(outputs[0].GetTensorDataAsSpan<float>());
            past = [.. outputs.Skip(1)];
        }

        Equal(whole, stepped.ToArray(), "tokens one by one");
    }

    [Theory]
    [MemberData(nameof(Runtimes))]
    public void Llama_GroupedHeads_AgreesWithEngine(bool platform)
    {
        var config = new LlamaConfig { Vocabulary = Vocabulary, Length = 160, Width = 32, Layers = 2, Heads = 4, KeyHeads = 2, Inner = 48, Sparse = s_policy with { Estimate = BlockEstimate.Antidiagonal, SharedBudget = false, Mass = 0.8 } };
        using var net = Filled(new Llama(config));
        using var reference = platform && SparseSession.HasLibrary ? net : Copied(net, new Llama(config with { Sparse = null }));
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var text = Ids(9, 130);
        var expected = reference.Forward(Tensor.From<long>(text, 1, 130)).ToArray<float>();

        using var session = Open(platform, LanguageExport.Write(net, Names, new Dictionary<string, string>()));

        Equal(expected, Run(session, [1, 130], text), "logits");
    }

    [Theory]
    [MemberData(nameof(Runtimes))]
    public void Bert_WithPadding_AgreesWithEngineWhereTokensAre(bool platform)
    {
        var config = new BertConfig { Vocabulary = Vocabulary, Length = 80, Width = 24, Layers = 2, Heads = 3, Inner = 32, Dropout = 0, Sparse = s_policy };
        using var net = Filled(new BertClassifier(config, 4));
        using var reference = platform && SparseSession.HasLibrary ? net : Copied(net, new BertClassifier(config with { Sparse = null }, 4));
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var ids = Tensor.From<long>([.. Ids(10, 80), .. Ids(11, 80)], 2, 80);
        var mask = Tensor.From<long>([.. Enumerable.Range(0, 160).Select(i => i < 80 || i < 80 + 43 ? 1L : 0L)], 2, 80);
        reference.Train(false);
        var expected = reference.Classify(ids, default, mask).ToArray<float>();
        ExportInput[] inputs = [new("ids", Dtype.Int64, "N", "T"), new("mask", Dtype.Int64, "N", "T")];
        var model = ModelExport.Write(net, inputs, "logits", x => net.Classify(x[0], default, x[1]));

        using var session = Open(platform, model);
        using var options = new RunOptions();
        using var results = session.Run(
            options, ["ids", "mask"], [OrtValue.CreateTensorValueFromMemory(ids.ToArray<long>(), [2, 80]), OrtValue.CreateTensorValueFromMemory(mask.ToArray<long>(), [2, 80])], ["logits"]);

        Equal(expected, results[0].GetTensorDataAsSpan<float>(), "logits");
    }

    [Fact]
    public void Node_SaysThePolicy_AndTheFunctionIsThereOnce()
    {
        using var net = Filled(new Gpt(s_config with { Sparse = s_policy with { Density = 0.1, Power = double.PositiveInfinity } }));

        var model = Write(net);

        var nodes = model.Graph.Node.Where(n => n.Domain == "ai.deepseek").ToArray();
        Assert.Equal(2, nodes.Length);
        Assert.All(nodes, n => Assert.Equal("BlockSparseAttention", n.OpType));
        Assert.Equal(BlockSparseNode.Attributes.Order(), nodes[0].Attribute.Select(a => a.Name).Order());
        (string, long)[] numbers = [("causal", 1), ("block_q", 16), ("block_k", 16), ("sink", 1), ("window", 0), ("minimum", 1), ("shared_budget", 1), ("stride", 8), ("estimate", 2)];
        Assert.All(numbers, n => Assert.Equal(n.Item2, nodes[1].Int(n.Item1, -1)));
        Assert.Equal((float)(1 / Math.Sqrt(8)), nodes[0].Float("scale", 0));
        Assert.Equal((1f, 0f), (nodes[0].Float("mass", 0), nodes[0].Float("power", -1)));
        // A tenth of ten blocks is one: the float32 next to a tenth is above it, so the one below is written.
        Assert.Equal(MathF.BitDecrement(0.1f), nodes[0].Float("density", 0));
        Assert.Equal(1, model.Opset("ai.deepseek"));
        Assert.Equal("BlockSparseAttention", Assert.Single(model.Functions).Name);
    }

    [Fact]
    public void Passes_OnSparseModel_KeepNodesAndFunction()
    {
        using var net = Filled(new Gpt(s_config));
        var model = Write(net);
        var text = Ids(12, 100);
        using var plain = Open(false, model);
        var expected = Run(plain, [1, 100], text);

        var rewritten = OnnxOptimizer.Run(model, OnnxOptimizer.ForOnnxRuntime).Model;

        Assert.Equal(2, rewritten.Graph.Node.Count(n => n.OpType == BlockSparseNode.OpType));
        Assert.Equal(model.Functions, rewritten.Functions);
        Assert.Equal(2, rewritten.Graph.Node.Count(n => n.OpType is "Gelu" or "FastGelu"));
        using var session = Open(false, rewritten);
        Equal(expected, Run(session, [1, 100], text), "logits");
    }

    [Theory]
    [InlineData(nameof(SparsePolicy.NewestPower))]
    [InlineData(nameof(SparsePolicy.CausalChoice))]
    public void Policy_BeyondTheNode_IsRefusedByName(string setting)
    {
        var policy = setting == nameof(SparsePolicy.NewestPower) ? s_policy with { NewestPower = 2 } : s_policy with { CausalChoice = true };
        using var net = Filled(new Gpt(s_config with { Sparse = policy }));

        var fault = Assert.Throws<NotSupportedException>(() => Write(net));

        Assert.Contains($"SparsePolicy.{setting}", fault.Message, StringComparison.Ordinal);
        Assert.Contains("before the net is exported", fault.Message, StringComparison.Ordinal);
    }

    private static string[] Names => [.. Enumerable.Range(0, Vocabulary).Select(i => $"t{i}")];

    private static ModelProto Write(Gpt net) => LanguageExport.Write(net, Names, new Dictionary<string, string>());

    private static InferenceSession Open(bool platform, ModelProto model) => (platform ? SparseSession.Platform : (Func<byte[], InferenceSession>)SparseSession.Plain)(OnnxModels.ToBytes(model));

    private static TModule Filled<TModule>(TModule net) where TModule : Module
    {
        Noise.Fill(net);
        // Attention that differs from key to key, so that a wrong choice shows.
        foreach (var (name, tensor) in net.Parameters())
        {
            if (name.Contains("attn", StringComparison.Ordinal) || name.Contains("attention.self", StringComparison.Ordinal))
            {
                foreach (ref var value in tensor.Span<float>())
                {
                    value *= 3;
                }
            }
        }
        net.Train(false);
        return net;
    }

    private static Gpt Reference(Gpt net, bool platform) => Copied(net, new Gpt(platform && SparseSession.HasLibrary ? net.Config : net.Config with { Sparse = null }));

    private static TModule Copied<TModule>(Module from, TModule to) where TModule : Module
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        foreach (var (a, b) in from.Parameters().Zip(to.Parameters()))
        {
            b.Tensor.Tensor.CopyInPlace(a.Tensor.Tensor);
        }
        to.Train(false);
        return to;
    }

    private static long[] Ids(int seed, int length)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => (long)random.Next(Vocabulary))];
    }

    private static float[] Run(InferenceSession session, long[] shape, long[] ids)
    {
        using var options = new RunOptions();
        using var value = OrtValue.CreateTensorValueFromMemory(ids, shape);
        using var results = session.Run(options, ["features"], [value], ["logits"]);
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }

    private static void Equal(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= Near * (1 + Math.Abs(expected[i])), $"{what}[{i}]: {actual[i]:r}, expected {expected[i]:r}");
        }
    }
}
