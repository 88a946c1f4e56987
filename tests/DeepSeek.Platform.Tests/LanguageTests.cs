using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using DeepSeek.Client;

namespace DeepSeek.Platform.Tests;

/// <summary>A small language model on real text, from the upload to the text that it writes, through the gateway.</summary>
[Collection(PlatformCollection.Name)]
public sealed partial class LanguageTests(PlatformHost platform)
{
    private const string Name = "licences";

    /// <summary>Every Debian and Ubuntu has them; their paragraphs are the documents.</summary>
    private static readonly string[] s_licences = ["GPL-2", "GPL-3", "LGPL-2.1", "MPL-2.0", "Apache-2.0"];

    private DeepSeekClient Client => platform.Admin;

    [Fact]
    public async Task Licences_FromTextToGeneration_BeatTheFrequenciesOfTheirBytes()
    {
        var dataset = await Client.Datasets.CreateAsync(
            new DatasetSpec
            {
                Name = Name,
                Format = "jsonl",
                Target = "text",
                Task = "languageModeling",
                Text = new DatasetTextSpec(64),
                Split = new DatasetSplitSpec { Train = 0.8, Validation = 0.1, Test = 0.1 },
            },
            [new UploadFile("licences.jsonl", () => new MemoryStream(Corpus()))]);
        await EndAsync(dataset.JobId);
        var entropy = (await Client.Datasets.GetProfileAsync(dataset.Id)).GetProperty("text").GetProperty("unigramEntropy").GetDouble();
        Assert.InRange(entropy, 2.5, 3.5); // nats a byte of English prose

        var run = await Client.Runs.CreateAsync(new
        {
            specVersion = 1,
            name = Name,
            modelName = Name,
            datasetId = dataset.Id,
            model = new { family = "gpt", layers = 2, width = 64, heads = 2, context = 64, attention = new { kind = "blockSparse", block = 16, density = 0.5, window = 0 } },
            optimizer = new { name = "adamW", learningRate = 6e-3 },
            schedule = new { name = "oneCycle" },
            epochs = 2,
            batchSize = 16,
            gradientClip = 1,
        });
        await EndAsync(run.JobId);
        var ended = await Client.Runs.GetAsync(run.Id);

        var points = await Client.Runs.GetMetricsAsync(run.Id).ToListAsync();
        var losses = points.Where(p => p.Name == "validation.loss").OrderBy(p => p.Step).Select(p => p.Value!.Value).ToArray();
        Assert.Equal(2, losses.Length);
        Assert.True(losses[^1] < entropy - 0.4 && losses[^1] < losses[0], $"validation losses {string.Join(", ", losses)} nats; a model that knows the frequencies of bytes alone loses {entropy}");
        Assert.Contains(points, p => p is { Name: "tokensPerSecond", Value: > 0 });
        // Four blocks: of n visible ones ⌈n/2⌉ stay, the first and the diagonal always: (1+2+2+2)/10 in both layers.
        Assert.All(points.Where(p => p.Name is "validation.density.0" or "validation.density.1"), p => Assert.Equal(0.7, p.Value!.Value, 1e-6));
        var test = ended.Metrics!;
        Assert.Equal(Math.Exp(test["loss"]), test["perplexity"], 1e-9);
        Assert.Equal(0.7, test["density.1"], 1e-6);
        Assert.InRange(test["dense.loss"], 0, entropy - 0.4);

        var version = await Client.Models.WaitForSourceAsync(Name, run.Id, TimeSpan.FromMinutes(1));
        var compressed = await CompressAsync(version.Version, test["perplexity"]);
        await ServeAsync(Name, version.Version, dataset.ManifestSha256 ?? (await Client.Datasets.GetAsync(dataset.Id)).ManifestSha256!);
        await ServeAsync("licences-int8", compressed, dataset.ManifestSha256 ?? (await Client.Datasets.GetAsync(dataset.Id)).ManifestSha256!);
        var refused = await Assert.ThrowsAsync<DeepSeekApiException>(() => Client.Explanations.CreateAsync(new ExplanationSpec { ModelName = Name, Version = $"{version.Version}", Count = 1 }));
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains("language model", refused.Errors["modelName"][0], StringComparison.Ordinal);
    }

    private async Task<int> CompressAsync(int version, double perplexity)
    {
        var compression = await Client.Compressions.CreateAsync(new CompressionSpec { ModelName = Name, Version = $"{version}", Budget = new AccuracyBudget("perplexity", 0.05) });
        await EndAsync(compression.JobId);
        var report = (await Client.Compressions.GetAsync(compression.Id)).Report!.Value;
        var accuracy = report.GetProperty("accuracy");
        Assert.Equal("perplexity", accuracy.GetProperty("metric").GetString());
        Assert.Equal(accuracy.GetProperty("int8").GetDouble() / accuracy.GetProperty("fp32").GetDouble() - 1, accuracy.GetProperty("drop").GetDouble(), 1e-12);
        // Of the exported model on the same rows, with the attention it was trained with.
        Assert.Equal(perplexity, accuracy.GetProperty("fp32").GetDouble(), 1e-4 * perplexity);
        Assert.InRange(report.GetProperty("agreement").GetDouble(), 0.8, 1);
        TestContext.Current.TestOutputHelper?.WriteLine($"INT8: {report.GetRawText()}");
        return (await Client.Models.WaitForSourceAsync(Name, compression.Id, TimeSpan.FromMinutes(1))).Version;
    }

    private async Task ServeAsync(string deployment, int version, string manifest)
    {
        await Client.Deployments.PutAsync(deployment, new DeploymentSpec { Model = Name, Ref = $"{version}" });
        var served = await Client.Deployments.WaitAsync(deployment);
        Assert.Equal(("ready", "blockSparse"), (served.State, served.Attention));

        var reply = await Client.Deployments.PredictAsync(deployment, [Row("the GNU General Public Licens"), Row("")]);
        var generated = await Client.Deployments.GenerateAsync(deployment, Licence);
        var (exitCode, output, error) = await platform.CliAsync("generate", deployment, "--prompt", Licence.Prompt, "--max-tokens", "24", "--temperature", "0", "--stream", "--json");
        var parts = await Client.Deployments.StreamAsync(deployment, Licence).ToListAsync();

        Assert.Equal(reply.Predictions[0].Probabilities!.MaxBy(p => p.Value).Key, reply.Predictions[0].Label);
        Assert.NotEqual(reply.Predictions[0].Probabilities!["e"], reply.Predictions[1].Probabilities!["e"]);
        Assert.Equal(257, reply.Predictions[1].Probabilities!.Count);
        Assert.Equal(1, reply.Predictions[1].Probabilities!.Values.Sum()!.Value, 1e-4);
        Assert.Equal(generated.FinishReason == "length" ? 24 : generated.Tokens, generated.Tokens);
        Assert.True(exitCode == 0, error);
        Assert.Equal(generated.Text, JsonDocument.Parse(output).RootElement.GetProperty("text").GetString());
        Assert.Equal(generated.Text, string.Concat(parts.Select(p => p.Text)));
        Assert.Equal((generated.Text, generated.Tokens, generated.FinishReason), (parts[^1].Reply!.Text, parts[^1].Reply!.Tokens, parts[^1].Reply!.FinishReason));
        Assert.True(parts.Count > generated.Tokens / 2, $"{parts.Count} parts of {generated.Tokens} tokens");
        var alike = Math.Min(generated.Tokens, TokensAlike);
        Assert.Equal(await ByPredictionsAsync(deployment, alike), generated.Text[..alike]);
        Assert.Contains(manifest, (await Client.Predictions.GetLineageAsync(generated.PredictionId)).GetRawText(), StringComparison.Ordinal);
    }

    // The prompt's 13 bytes and the separator; up to 32 tokens are two blocks, which every choice keeps. Beyond, a token that is read by itself may
    // choose other blocks than it does as one of its block.
    private const int TokensAlike = 32 - 14 + 1;

    private static GenerationSpec Licence => new() { Prompt = "This License ", MaxTokens = 24, Temperature = 0 };

    /// <summary>The same text, each token from a pass over all before it.</summary>
    private async Task<string> ByPredictionsAsync(string deployment, int tokens)
    {
        var text = Licence.Prompt;
        for (var i = 0; i < tokens; i++)
        {
            var probabilities = (await Client.Deployments.PredictAsync(deployment, [Row(text)])).Predictions[0].Probabilities!;
            var token = probabilities.MaxBy(p => p.Value).Key;
            // Bytes without a sign of their own are called 0x0A and the like; licences hold nothing but ASCII.
            text += token.Length == 1 ? token : ((char)Convert.ToByte(token, 16)).ToString();
        }

        return text[Licence.Prompt.Length..];
    }

    private static IReadOnlyDictionary<string, object?> Row(string text) => new Dictionary<string, object?> { ["text"] = text };

    private async Task EndAsync(Guid job)
    {
        var ended = await Client.Jobs.WaitAsync(job);
        Assert.True(ended.Succeeded, $"{ended.Kind} job {job} {ended.State}: {ended.Error}\n{platform.LastLines()}");
    }

    private static byte[] Corpus()
    {
        var paragraphs = s_licences.SelectMany(name => Blank().Split(File.ReadAllText($"/usr/share/common-licenses/{name}"))).Select(p => p.Trim()).Where(p => p.Length > 0);
        return Encoding.UTF8.GetBytes(string.Join('\n', paragraphs.Select(text => JsonSerializer.Serialize(new { text }))));
    }

    [GeneratedRegex(@"\n\s*\n")]
    private static partial Regex Blank();
}
