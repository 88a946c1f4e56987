using System.Text.Json;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>A trained net's model.onnx on its test part: what the platform serves, and what other runtimes compute of the same file.</summary>
public sealed class ServedAttentionTests
{
    // Nats, the mean of 5120 tokens: the same sums in float32 in another order.
    private const double Near = 1e-5;

    [Fact]
    public void BlockSparse_ExportedModel_LosesWhatTheRunMeasured()
    {
        var blocks = new AttentionSpec { Kind = AttentionKind.BlockSparse, Block = 16, Density = 0.2, Window = 0 };
        using var folder = TrainerFolder.Text(context: 128, rows: 160, change: s => s with
        {
            // Long enough for the two to differ.
            Epochs = 6,
            BatchSize = 8,
            Model = s.Model with { Width = 64, Attention = blocks },
            Optimizer = s.Optimizer with { LearningRate = 5e-3 },
        });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        using var model = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        var metrics = model.RootElement.GetProperty("metrics");
        var (sparse, dense) = (metrics.GetProperty("loss").GetDouble(), metrics.GetProperty("dense.loss").GetDouble());
        Assert.True(Math.Abs(sparse - dense) > 10 * Near, $"{sparse} and {dense} are too near to be told apart.");
        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var plain = new InferenceSession(folder.File("output", "model.onnx"), options);
        using var platform = PlatformOperators.Open(folder.File("output", "model.onnx"), options, out var attention);

        Assert.Equal(dense, Loss(plain, folder), Near);
        Assert.Equal(attention == ServedAttention.BlockSparse ? sparse : dense, Loss(platform, folder), Near);
    }

    private static double Loss(InferenceSession session, TrainerFolder folder)
    {
        var manifest = DatasetManifest.Parse(File.ReadAllBytes(folder.File("dataset.json")));
        var (nats, count) = (0.0, 0);
        using var options = new RunOptions();
        foreach (var block in manifest.Splits["test"].Shards.SelectMany(s => ShardReader.Read(File.OpenRead(folder.File("data", $"{s.Sha256}.tar"))).ToList()))
        {
            long[] ids = [.. block.Features.As<short>().ToArray().Select(id => (long)id)];
            var behind = block.Target.As<long>().ToArray();
            var length = ids.Length / behind.Length;
            using var value = OrtValue.CreateTensorValueFromMemory(ids, [behind.Length, length]);
            using var results = session.Run(options, ["text"], [value], ["logits"]);
            var logits = results[0].GetTensorDataAsSpan<float>();
            for (var i = 0; i < ids.Length; i++)
            {
                var row = logits.Slice(i * ByteTokens.Vocabulary, ByteTokens.Vocabulary).ToArray();
                var largest = row.Max();
                nats += Math.Log(row.Sum(v => Math.Exp(v - largest))) + largest - row[(i + 1) % length == 0 ? behind[i / length] : ids[i + 1]];
            }
            count += ids.Length;
        }
        return nats / count;
    }
}
