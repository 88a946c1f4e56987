using System.Globalization;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Engine.Export;
using DeepSeek.Models;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>Writes a language model of random weights as training exports it, to be timed in serving.</summary>
internal static class LanguageFile
{
    internal static int Write(string path, params string[] sizes)
    {
        int Size(int index) => int.Parse(sizes[index], CultureInfo.InvariantCulture);
        using var net = new Gpt(new GptConfig { Vocabulary = ByteTokens.Vocabulary, Layers = Size(0), Width = Size(1), Heads = Size(2), Length = Size(3) });
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
