using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Tests.Generation;

/// <summary>Texts that are written from keys and values, against whole passes.</summary>
public sealed class CacheTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const int Context = 48;

    [Theory]
    [InlineData(0)]
    [InlineData(1.2)]
    public async Task Generate_FromACache_WritesWhatWholePassesWrite(double temperature)
    {
        var cached = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));
        var whole = await service.DeployAsync(AttendingModel.Onnx(Context, cached: false));
        // The prompt's token, the separator's and these just fill the context.
        var body = $$"""{"prompt": "Once upon a time", "maxTokens": {{Context - 17}}, "temperature": {{temperature}}, "seed": 3}""";

        var (expected, actual) = (await GenerateAsync(whole, body), await GenerateAsync(cached, body));

        Assert.Equal(expected.GetProperty("text").GetString(), actual.GetProperty("text").GetString());
        Assert.Equal(expected.GetProperty("tokens").GetInt32(), actual.GetProperty("tokens").GetInt32());
        Assert.True(actual.GetProperty("tokens").GetInt32() > 10, "The model ended too soon for a comparison.");
        Assert.Equal(0, service.Services.GetRequiredService<CacheBudget>().Taken);
    }

    [Fact]
    public async Task Next_TokenByToken_AgreesWithWholePassesToRounding()
    {
        using var whole = Loaded.Of(cached: false, Context);
        using var cached = Loaded.Of(cached: true, Context);
        using var expected = Text(whole, "The first words", 30);
        using var actual = Text(cached, "The first words", 30);
        for (var i = 0; i < 30; i++)
        {
            var (a, b) = (Floats(await expected.NextAsync(default)), Floats(await actual.NextAsync(default)));
            // The same sums in float32, in another order.
            Assert.All(a.Zip(b), pair => Assert.Equal(pair.First, pair.Second, 1e-5f));
            var token = Array.IndexOf(a, a.Max());
            expected.Add(token);
            actual.Add(token);
        }

    }

    [Fact]
    public async Task FullContext_LaterHalf_IsReadAnew()
    {
        const int context = 12;
        using var whole = Loaded.Of(cached: false, context);
        using var cached = Loaded.Of(cached: true, context);
        // Longer than the context: its last 12 bytes are what the model sees.
        var seen = TextData.Tokens("a prompt beyond it"u8, context).ToList();
        using var actual = Text(cached, "a prompt beyond it", 40);
        var sizes = new HashSet<int>();
        for (var i = 0; i < 40; i++)
        {
            var work = new InferenceWork([TextData.ToTensor("story", [[.. seen]])], 1, [Probabilities(whole)]);
            var expected = Floats((await whole.Version.InferAsync(work, default))[0]);
            Assert.All(expected.Zip(Floats(await actual.NextAsync(default))), pair => Assert.Equal(pair.First, pair.Second, 1e-5f));
            sizes.Add(seen.Count);
            seen.Add(Array.IndexOf(expected, expected.Max()));
            actual.Add(seen[^1]);
            if (seen.Count > context)
            {
                seen = seen[^(context / 2)..];
            }
        }

        Assert.Equal(Enumerable.Range(context / 2, (context / 2) + 1), sizes.Order());
    }

    [Fact]
    public async Task Model_WithACache_ShowsRequestsItsOwnInputsAndOutputsAlone()
    {
        var name = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));

        var described = await (await service.Http.GetAsync($"/v2/models/{name}")).JsonAsync();
        var all = await (await service.InferAsync(name, """{"inputs": [{"name": "story", "datatype": "INT64", "shape": [2, 2], "data": [256, 65, 256, -1]}]}""")).JsonAsync();

        Assert.Equal(["story"], described.GetProperty("inputs").EnumerateArray().Select(i => i.GetProperty("name").GetString()));
        string[] outputs = ["logits", "label", "probabilities"];
        Assert.Equal(outputs, described.GetProperty("outputs").EnumerateArray().Select(i => i.GetProperty("name").GetString()));
        Assert.Equal(outputs, all.GetProperty("outputs").EnumerateArray().Select(i => i.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Generate_MemoryForCachesGone_Is429WithRetryAfterThenServed()
    {
        var name = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));
        var budget = service.Services.GetRequiredService<CacheBudget>();
        using (budget.Take(1L << 30))
        {
            using var refused = await PostAsync(name, """{"maxTokens": 1}""");
            Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter?.Delta);
            Assert.Contains("1024 of 1024 MiB", (await refused.ProblemAsync(429)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        Assert.Equal(1, (await GenerateAsync(name, """{"maxTokens": 1, "temperature": 0}""")).GetProperty("tokens").GetInt32());
        Assert.Equal(0, budget.Taken);
    }

    [Fact]
    public void Budget_MoreThanThereIs_Is400NamingTheOption()
    {
        var budget = new CacheBudget(Options.Create(new InferenceOptions { GenerationCacheMiB = 2 }));
        using var share = budget.Take(1 << 20);

        var fault = Assert.Throws<InferenceException>(() => budget.Take((2 << 20) + 1));
        share.Dispose();
        share.Dispose();

        Assert.Equal(400, fault.Status);
        Assert.Contains("GenerationCacheMiB", fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, budget.Taken);
    }

    [Fact]
    public async Task ManyTextsAtOnce_EachOnItsOwnCache_AreWhatEachIsAlone()
    {
        var name = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));
        string Body(int i) => $$"""{"prompt": "text number {{i}}", "maxTokens": 24, "seed": {{i}}}""";
        var alone = new List<string?>();
        for (var i = 0; i < 8; i++)
        {
            alone.Add((await GenerateAsync(name, Body(i))).GetProperty("text").GetString());
        }

        var together = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => GenerateAsync(name, Body(i))));

        Assert.Equal(alone, together.Select(t => t.GetProperty("text").GetString()));
    }

    private Task<HttpResponseMessage> PostAsync(string name, string json) =>
        service.Http.PostAsync($"/api/v1/deployments/{name}/generate", new StringContent(json, Encoding.UTF8, "application/json"));

    private async Task<JsonElement> GenerateAsync(string name, string json) => await (await PostAsync(name, json)).JsonAsync();

    private static GrowingText Text(Loaded loaded, string prompt, int most) => GrowingText.Of(
        loaded.Version, loaded.Version.Rows.Columns[0], Probabilities(loaded), TextData.Tokens(Encoding.UTF8.GetBytes(prompt), loaded.Context), most, new CacheBudget(Options.Create(new InferenceOptions())));

    private static int Probabilities(Loaded loaded) => loaded.Version.Signature.Outputs.Select(o => o.Name).ToList().IndexOf("probabilities");

    private static float[] Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray();

    private sealed class Loaded(LoadedVersion version, int context) : IDisposable
    {
        public static Loaded Of(bool cached, int context) => new(
            new LoadedVersion("test", new ServedModel(Guid.NewGuid(), "test", 1, new string('0', 64)), Session.Of(AttendingModel.Onnx(context, cached)), new BatchLimits(8, TimeSpan.Zero, 100), TimeProvider.System),
            context);

        public LoadedVersion Version => version;

        public int Context => context;

        public void Dispose() => version.Retire();
    }
}
