using System.Text.Json;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;
using DeepSeek.Onnx;
using DeepSeek.Trainer;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Tensor = DeepSeek.Engine.Tensors.Tensor;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>Language models through the trainer: what they learn, what their sparse attention keeps, what is exported.</summary>
public sealed class LanguageModelTests
{
    private const double Tolerance = 1e-4;

    private static readonly AttentionSpec s_blocks = new() { Kind = AttentionKind.BlockSparse, Block = 16, Density = 0.5, Window = 0 };
    private static readonly AttentionSpec s_gated = s_blocks with { Gate = 8, Warmup = 0.5 };
    private static readonly AttentionSpec s_tokens = new() { Kind = AttentionKind.TokenSparse, Tokens = 8 };

    [Fact]
    public void Dense_RealText_LearnsAndTellsItsMetrics()
    {
        using var folder = TrainerFolder.Text(change: s => s with
        {
            Epochs = 6,
            BatchSize = 8,
            Model = s.Model with { Width = 64 },
            Optimizer = s.Optimizer with { LearningRate = 5e-3 },
            Schedule = new ScheduleSpec { Name = ScheduleName.OneCycle },
            EarlyStopping = new EarlyStoppingSpec { Patience = 3, Metric = MetricName.BitsPerByte },
        });

        var result = TrainerRunner.Run(folder);

        Assert.True(result.ExitCode == 0, string.Join('\n', result.Events));
        var test = result.Of("done").Single().GetProperty("metrics");
        double Metric(string name) => test.GetProperty(name).GetDouble();
        // Every token alike costs ln 257 = 5.55 nats, their frequencies 3.0; in seconds and on 15 kB a net learns little more than these.
        Assert.InRange(Metric("loss"), 1, TokenEntropy(folder, "test") + 0.2);
        Assert.Equal(Math.Exp(Metric("loss")), Metric("perplexity"), 1e-9);
        // 60 rows of 64 tokens; the last of them is the separator, and all others are bytes.
        Assert.Equal(Metric("loss") * 3840 / 3839 / Math.Log(2), Metric("bitsPerByte"), 1e-9);
        Assert.InRange(Metric("accuracy"), 0.1, 1);
        // A line right behind another has no steps to tell of.
        var rates = result.Of("progress").Where(line => line.TryGetProperty("tokensPerSecond", out _)).Select(line => line.GetProperty("tokensPerSecond").GetDouble()).ToList();
        Assert.NotEmpty(rates);
        Assert.All(rates, rate => Assert.InRange(rate, 1, 1e9));
        using var model = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        Assert.Equal("gpt", model.RootElement.GetProperty("family").GetString());
        var language = model.RootElement.GetProperty("language");
        Assert.Equal((64, 257), (language.GetProperty("context").GetInt32(), language.GetProperty("tokens").GetProperty("vocabulary").GetInt32()));
        Assert.Equal((2, 2, 32), (language.GetProperty("cache").GetProperty("layers").GetInt32(), language.GetProperty("cache").GetProperty("heads").GetInt32(), language.GetProperty("cache").GetProperty("headWidth").GetInt32()));
        // Two tables; a block: two norms, attention w·3w + 3w and w·w + w, mlp 2·4·w·w + 4w + w; a norm.
        const int w = 64;
        Assert.Equal(257 * w + 64 * w + 2 * (4 * w + 3 * w * w + 3 * w + w * w + w + 8 * w * w + 5 * w) + 2 * w, model.RootElement.GetProperty("parameters").GetInt64());
        Assert.False(test.TryGetProperty("density", out _));
    }

    // Four blocks of 16: of n visible ones ⌈n/2⌉ stay, but the first and the diagonal always: (1+2+2+2)/10. Eight tokens of 1 to 64: 484/2080.
    [Theory]
    [InlineData("blocks", 0.7)]
    [InlineData("gated", 0.7)]
    [InlineData("tokens", 484.0 / 2080)]
    public void Sparse_EveryEpoch_ReportsTheDensityOfEachLayer(string attention, double density)
    {
        using var folder = TrainerFolder.Text(change: s => s with { Model = s.Model with { Attention = attention switch { "blocks" => s_blocks, "gated" => s_gated with { Mass = 0.999 }, _ => s_tokens } } });

        var result = TrainerRunner.Run(folder);

        Assert.True(result.ExitCode == 0, string.Join('\n', result.Events));
        var test = result.Of("done").Single().GetProperty("metrics");
        foreach (var name in (string[])["density", "density.0", "density.1"])
        {
            Assert.Equal(density, test.GetProperty(name).GetDouble(), 1e-6);
        }
        var epochs = File.ReadLines(folder.File("output", "metrics.jsonl")).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("validation")).ToList();
        Assert.Equal(2, epochs.Count);
        Assert.All(epochs, epoch => Assert.Equal(density, epoch.GetProperty("density.1").GetDouble(), 1e-6));
        Assert.True(epochs[1].GetProperty("loss").GetDouble() < epochs[0].GetProperty("loss").GetDouble());
        // The same net under dense attention stands beside it; near, as most of the attention lies close by in a net this small.
        Assert.Equal(test.GetProperty("loss").GetDouble(), test.GetProperty("dense.loss").GetDouble(), 0.3);
        using var model = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        var exported = model.RootElement.GetProperty("language").GetProperty("exportedAttention").GetString();
        Assert.Equal(attention == "blocks" ? "blockSparse" : "dense", exported);
        Assert.Equal(exported == "blockSparse" ? 2 : 0, OnnxModels.Load(folder.File("output", "model.onnx")).Graph.Node.Count(n => n.OpType == BlockSparseNode.OpType));
    }

    [Fact]
    public void BlockSparse_AtDensityOne_IsTheDenseRun()
    {
        using var dense = TrainerFolder.Text(rows: 64, change: s => s with { Epochs = 1 });
        using var sparse = TrainerFolder.Text(rows: 64, change: s => s with { Epochs = 1, Model = s.Model with { Attention = s_blocks with { Density = 1 } } });

        var (expected, actual) = (TrainerRunner.Run(dense).Of("done").Single().GetProperty("metrics"), TrainerRunner.Run(sparse).Of("done").Single().GetProperty("metrics"));

        // Four steps in another order of summation.
        Assert.Equal(expected.GetProperty("loss").GetDouble(), actual.GetProperty("loss").GetDouble(), 1e-4);
        Assert.Equal(actual.GetProperty("loss").GetDouble(), actual.GetProperty("dense.loss").GetDouble(), 1e-4);
        Assert.Equal(1, actual.GetProperty("density").GetDouble());
    }

    [Theory]
    [InlineData("dense")]
    [InlineData("blocks")]
    [InlineData("gated")]
    [InlineData("tokens")]
    public void Bf16Weights_LearnAsFloat32DoesAndKeepTheirMasters(string attention)
    {
        RunSpec On(RunSpec s) => s with { Device = "cpu", Model = s.Model with { Attention = attention switch { "blocks" => s_blocks, "gated" => s_gated, "tokens" => s_tokens, _ => null } } };
        using var full = TrainerFolder.Text(rows: 120, change: On);
        using var half = TrainerFolder.Text(rows: 120, change: s => On(s) with { Precision = RunPrecision.Bf16Weights });
        Assert.Equal(0, TrainerRunner.Run(full).ExitCode);

        var result = TrainerRunner.Run(half);

        Assert.True(result.ExitCode == 0, string.Join('\n', result.Events));
        Assert.Equal("bf16Weights", result.Of("compute").First().GetProperty("precision").GetString());
        // Weights and activations of 8 bits in between; the same course otherwise.
        Assert.Equal(TestLoss(full), TestLoss(half), 0.05);
        using var weights = Safetensors.Read(File.ReadAllBytes(half.File("output", "weights.safetensors")));
        var table = weights.Tensors["wte.weight"];
        Assert.Equal(Dtype.Float32, table.Tensor.Dtype);
        // Most float32 numbers have more digits than bfloat16's eight: these were never rounded.
        Assert.InRange(table.Span<float>().ToArray().Count(v => (BitConverter.SingleToUInt32Bits(v) & 0xffff) != 0), 0.9 * 257 * 32, 257 * 32);
    }

    // Queries, keys and weights of each layer's indexer; queries and keys of its gate.
    [Theory]
    [InlineData(AttentionKind.TokenSparse, "indexer.w", 3)]
    [InlineData(AttentionKind.BlockSparse, "attn.gate.", 2)]
    public void WeightsThatChoose_LearnFromTheirOwnLoss(AttentionKind kind, string names, int ofLayer)
    {
        using var folder = TrainerFolder.Text(rows: 64, change: s => s with { Epochs = 1, Model = s.Model with { Attention = kind == AttentionKind.TokenSparse ? s_tokens with { Warmup = 0 } : s_gated } });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        var plan = TrainingPlan.Load(new WorkFolder(folder.Root));
        EngineRuntime.Seed(plan.Spec.Seed);
        using var fresh = NetFactory.Create(plan);
        using var trained = Safetensors.Read(File.ReadAllBytes(folder.File("output", "weights.safetensors")));

        var choosing = fresh.State().Where(t => t.Name.Contains(names, StringComparison.Ordinal)).ToList();

        Assert.Equal(2 * ofLayer, choosing.Count);
        Assert.All(choosing, t => Assert.NotEqual(t.Tensor.Bytes().ToArray(), trained.Tensors[t.Name].Bytes().ToArray()));
    }

    [Theory]
    [InlineData(AttentionKind.Dense)]
    [InlineData(AttentionKind.TokenSparse)]
    public void ExportedModel_AnyLength_AgreesWithEngine(AttentionKind kind)
    {
        using var folder = TrainerFolder.Text(rows: 64, change: s => s with { Epochs = 1, Model = s.Model with { Attention = kind == AttentionKind.Dense ? null : s_tokens } });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        long[] text = [ByteTokens.Separator, .. "Everyone is permitted to copy"u8.ToArray().Select(b => (long)b)];
        var longer = text.Length;
        // The same text, cut, beside the whole: padded to its length.
        long[] batch = [.. text, .. text.Take(9), .. Enumerable.Repeat((long)ByteTokens.Padding, longer - 9)];

        using var results = session.Run([NamedOnnxValue.CreateFromTensor("text", new DenseTensor<long>(batch, [2, longer]))]);
        var probabilities = results.Single(r => r.Name == "probabilities").AsEnumerable<float>().ToArray();
        var logits = results.Single(r => r.Name == "logits").AsTensor<float>();
        var labels = results.Single(r => r.Name == "label").AsEnumerable<string>().ToArray();

        using Gpt net = Dense(folder);
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var whole = net.Forward(Tensor.From<long>(text, 1, longer));
        var cut = net.Forward(Tensor.From<long>(text[..9], 1, 9));
        Assert.Equal([2, longer, 257], logits.Dimensions.ToArray());
        Assert.All(whole.ToArray<float>().Zip(logits), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
        float[] expected = [.. whole.Narrow(1, longer - 1, 1).Softmax(2).ToArray<float>(), .. cut.Narrow(1, 8, 1).Softmax(2).ToArray<float>()];
        Assert.Equal(2 * 257, probabilities.Length);
        Assert.All(expected.Zip(probabilities), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
        Assert.Equal(ByteTokens.Names[Array.IndexOf(expected[..257], expected[..257].Max())], labels[0]);
    }

    // A pass over the beginning, one over three more tokens, then one a token: together the logits of one pass over all of them. Block-sparse
    // attention is dense in a session that knows nothing of the platform's operators.
    [Theory]
    [InlineData(AttentionKind.Dense)]
    [InlineData(AttentionKind.BlockSparse)]
    public void ExportedModel_GoingOnFromItsCache_AgreesWithTheWholeText(AttentionKind kind)
    {
        using var folder = TrainerFolder.Text(rows: 64, change: s => s with { Epochs = 1, Model = s.Model with { Attention = kind == AttentionKind.Dense ? null : s_blocks } });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        long[][] texts = [[ByteTokens.Separator, .. "Everyone is permitted to copy"u8.ToArray().Select(b => (long)b)], [.. "and to distribute verbatim cop"u8.ToArray().Select(b => (long)b)]];
        var length = texts[0].Length;
        using Gpt net = Dense(folder);
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var expected = net.Forward(Tensor.From<long>([.. texts[0], .. texts[1]], 2, length)).ToArray<float>();
        using var options = new RunOptions();

        var past = new Dictionary<string, OrtValue>();
        int[] cuts = [0, 9, 12, .. Enumerable.Range(13, length - 12)];
        foreach (var (start, end) in cuts.Zip(cuts.Skip(1)))
        {
            using var ids = OrtValue.CreateTensorValueFromMemory<long>([.. texts.SelectMany(t => t[start..end])], [2, end - start]);
            string[] wanted = ["logits", "probabilities", "present.0.key", "present.0.value", "present.1.key", "present.1.value"];
            var outputs = session.Run(options, ["text", .. past.Keys], [ids, .. past.Values], wanted);
            var (logits, probabilities) = (outputs[0].GetTensorDataAsSpan<float>().ToArray(), outputs[1].GetTensorDataAsSpan<float>().ToArray());
            for (var row = 0; row < 2; row++)
            {
                var whole = expected.AsSpan((row * length + start) * 257, (end - start) * 257).ToArray();
                Assert.All(whole.Zip(logits.Skip(row * whole.Length)), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
                var last = whole[^257..].Select(v => Math.Exp(v)).ToArray();
                Assert.All(last.Zip(probabilities.Skip(row * 257)), pair => Assert.Equal(pair.First / last.Sum(), pair.Second, Tolerance));
            }
            Assert.Equal([2, 2, end, 16], outputs[2].GetTensorTypeAndShape().Shape);
            foreach (var value in past.Values)
            {
                value.Dispose();
            }
            past = wanted.Zip(outputs).Skip(2).ToDictionary(p => p.First.Replace("present.", "past_key_values.", StringComparison.Ordinal), p => p.Second);
        }
        // Callers that know nothing of it see the inputs of old.
        Assert.Equal(["text"], session.InputNames);
    }

    [Fact]
    public void Checkpointing_AndAccumulation_GiveTheirNumbers()
    {
        static RunSpec Small(RunSpec s) => s with { Epochs = 1, Device = "cpu", Model = s.Model with { Dropout = 0.1 } };
        using var plain = TrainerFolder.Text(rows: 64, change: Small);
        using var again = TrainerFolder.Text(rows: 64, change: s => Small(s) with { Checkpointing = Checkpointing.On });
        using var halves = TrainerFolder.Text(rows: 64, change: s => Small(s) with { Model = s.Model, BatchSize = 8, GradientAccumulation = 2 });
        using var wholes = TrainerFolder.Text(rows: 64, change: s => Small(s) with { Model = s.Model });
        foreach (var folder in (TrainerFolder[])[plain, again, halves, wholes])
        {
            Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        }

        Assert.Equal(File.ReadAllBytes(plain.File("output", "weights.safetensors")), File.ReadAllBytes(again.File("output", "weights.safetensors")));
        // The rows of a batch in two passes: the same sums in another order.
        Assert.Equal(TestLoss(wholes), TestLoss(halves), 1e-4);
    }

    private static double TestLoss(TrainerFolder folder)
    {
        using var model = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        return model.RootElement.GetProperty("metrics").GetProperty("loss").GetDouble();
    }

    private static Gpt Dense(TrainerFolder folder)
    {
        using var trained = NetFactory.Create(TrainingPlan.Load(new WorkFolder(folder.Root)));
        using var weights = Safetensors.Read(File.ReadAllBytes(folder.File("output", "weights.safetensors")));
        foreach (var (name, tensor) in trained.State())
        {
            weights.Tensors[name].Bytes().CopyTo(tensor.Bytes());
        }
        var dense = LanguageNet.Dense(trained) ?? new Gpt(((Gpt)trained).Config);
        foreach (var (name, tensor) in dense.State())
        {
            weights.Tensors[name].Bytes().CopyTo(tensor.Bytes());
        }
        dense.Train(false);
        return dense;
    }

    // Nats a token of a model that knows the frequencies of the part's own tokens, and nothing else.
    private static double TokenEntropy(TrainerFolder folder, string part)
    {
        var manifest = DatasetManifest.Parse(File.ReadAllBytes(folder.File("dataset.json")));
        var tokens = manifest.Splits[part].Shards.SelectMany(s => ShardReader.Read(File.OpenRead(folder.File("data", $"{s.Sha256}.tar"))).ToList())
            .SelectMany(b => b.Features.As<short>().ToArray()).ToArray();
        return tokens.GroupBy(t => t).Sum(g => -(double)g.Count() / tokens.Length * Math.Log((double)g.Count() / tokens.Length));
    }
}
