using System.Globalization;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Engine.Export;
using DeepSeek.Engine.Kernels;
using DeepSeek.Models;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>Writes a language model of random weights as training exports it, to be timed in serving.</summary>
internal static class LanguageFile
{
    internal static int Write(string path, params string[] sizes)
    {
        int Size(int index) => int.Parse(sizes[index], CultureInfo.InvariantCulture);
        // Blocks as the run spec's defaults choose them.
        var policy = sizes.Length < 5 ? null : new SparsePolicy
        {
            Density = double.Parse(sizes[4], CultureInfo.InvariantCulture), QueryBlock = 64, KeyBlock = 64, Stride = 8, Estimate = BlockEstimate.Sampled, Power = 2, SharedBudget = true,
        };
        EngineRuntime.Seed(1);
        using var net = new Gpt(new GptConfig { Vocabulary = ByteTokens.Vocabulary, Layers = Size(0), Width = Size(1), Heads = Size(2), Length = Size(3), Sparse = policy });
        var card = JsonSerializer.Serialize(new
        {
            task = "languageModeling",
            kind = "text",
            classes = ByteTokens.Names,
            featureShape = new[] { Size(3) },
            inputs = new[] { new { name = NetExport.Features, type = "text", datatype = "INT64", shape = new[] { -1, -1 } } },
        });
        OnnxModels.Save(LanguageExport.Write(net, ByteTokens.Names, new Dictionary<string, string> { ["deepseek.model"] = card }), path);
        return 0;
    }
}
