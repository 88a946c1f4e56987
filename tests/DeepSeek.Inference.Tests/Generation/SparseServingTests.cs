using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using DeepSeek.Onnx.Runtime;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Tests.Generation;

/// <summary>A model with block-sparse attention in the running service: with the platform's operators by its policy, without them densely.</summary>
public sealed class SparseServingTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const int Context = 48;

    // Sink and diagonal stay whatever the policy: two blocks, which a text of so many tokens does not leave.
    private const int Kept = 2 * AttendingModel.Block;

    [Fact]
    public async Task Deployment_OfASparseModel_TellsWhatItAttendsWith()
    {
        var sparse = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true, density: 0.3f));
        var dense = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));
        var other = await service.DeployAsync(Models.Regressor(2));
        var expected = PlatformOperators.Library is null ? "dense" : "blockSparse";

        foreach (var (name, attention) in new[] { (sparse, expected), (dense, "dense"), (other, null) })
        {
            var document = await (await service.Http.GetAsync($"/api/v1/deployments/{name}")).JsonAsync();
            Assert.Equal(attention, document.GetProperty("attention").GetString());
            Assert.Equal(attention, document.GetProperty("versions")[0].GetProperty("attention").GetString());
            Assert.Equal(attention, document.GetProperty("replicas")[0].GetProperty("versions")[0].GetProperty("attention").GetString());
        }
    }

    // /predict, /v2 and /generate come to one session; at a density of 1 it is that of dense attention, operator or not.
    [Fact]
    public async Task EveryWayIn_AtDensityOne_IsDenseAttention()
    {
        var sparse = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true, density: 1));
        var dense = await service.DeployAsync(AttendingModel.Onnx(Context, cached: true));
        const string rows = """{"rows": [{"story": "Once upon a time there was"}, {"story": "Once"}, {"story": ""}]}""";
        const string tensors = """{"inputs": [{"name": "story", "datatype": "INT64", "shape": [2, 12], "data": [256, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 256, 65, 66, -1, -1, -1, -1, -1, -1, -1, -1, -1]}], "outputs": [{"name": "probabilities"}]}""";
        const string prompt = """{"prompt": "Once upon a time", "maxTokens": 24, "temperature": 0}""";

        Near(Numbers(await (await service.PredictAsync(dense, rows)).JsonAsync()), Numbers(await (await service.PredictAsync(sparse, rows)).JsonAsync()));
        Near(Numbers(await (await service.InferAsync(dense, tensors)).JsonAsync()), Numbers(await (await service.InferAsync(sparse, tensors)).JsonAsync()));
        Assert.Equal(await TextAsync(dense, prompt), await TextAsync(sparse, prompt));
        Assert.Equal(await TextAsync(sparse, prompt), await StreamAsync(sparse, prompt));
    }

    // Beyond the blocks that always stay, a token by itself may choose other blocks than it does as one of its block of queries.
    [Fact]
    public async Task Next_WithinTheBlocksThatStay_AgreesWithWholePasses()
    {
        using var whole = new Held(Session.Of(AttendingModel.Onnx(Context, cached: false, density: 0.01f)));
        using var cached = new Held(Session.Of(AttendingModel.Onnx(Context, cached: true, density: 0.01f)));
        using var expected = whole.Write("On", Kept - 3);
        using var actual = cached.Write("On", Kept - 3);
        for (var i = 0; i < Kept - 3; i++)
        {
            var (a, b) = (Floats(await expected.NextAsync(default)), Floats(await actual.NextAsync(default)));
            Near(a, b);
            expected.Add(Array.IndexOf(a, a.Max()));
            actual.Add(Array.IndexOf(a, a.Max()));
        }
    }

    [Fact]
    public async Task Rows_OfAMergedBatch_ChooseEachForItself()
    {
        using var held = new Held(Session.Of(AttendingModel.Onnx(Context, cached: true, density: 0.3f)));
        long[][] rows = [[256, .. Encoding.UTF8.GetBytes("A long row that has many blocks of four")], [256, 65, 66], [256, .. Encoding.UTF8.GetBytes("one of some length")]];
        var together = await held.InferAsync(TextData.ToTensor("story", rows), 3);

        for (var i = 0; i < rows.Length; i++)
        {
            var alone = await held.InferAsync(TextData.ToTensor("story", [rows[i]]), 1);
            Near(alone, together[(i * 257)..((i + 1) * 257)]);
        }
    }

    private async Task<string> TextAsync(string name, string body)
    {
        using var content = new StringContent(body, Encoding.UTF8, "application/json");
        return (await (await service.Http.PostAsync($"/api/v1/deployments/{name}/generate", content)).JsonAsync()).GetProperty("text").GetString()!;
    }

    private async Task<string> StreamAsync(string name, string body)
    {
        using var content = new StringContent(body.Replace("{", """{"stream": true, """, StringComparison.Ordinal), Encoding.UTF8, "application/json");
        using var response = await service.Http.PostAsync($"/api/v1/deployments/{name}/generate", content);
        var events = (await response.Content.ReadAsStringAsync()).Split('\n').Where(l => l.StartsWith("data: {", StringComparison.Ordinal));
        return string.Concat(events.Select(l => JsonElement.Parse(l["data: ".Length..]).GetProperty("text").GetString()));
    }

    private static float[] Numbers(JsonElement reply) => reply.ValueKind switch
    {
        JsonValueKind.Number => [reply.GetSingle()],
        JsonValueKind.Array => [.. reply.EnumerateArray().SelectMany(Numbers)],
        JsonValueKind.Object => [.. reply.EnumerateObject().Where(p => p.Name is "predictions" or "probabilities" or "outputs" or "data" || p.Name.StartsWith('t')).SelectMany(p => Numbers(p.Value))],
        _ => [],
    };

    private static float[] Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray();

    // The same sums in float32, in another order.
    private static void Near(float[] expected, float[] actual)
    {
        Assert.True(expected.Length >= 257);
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-5f * (1 + Math.Abs(pair.First))));
    }

    private sealed class Held(OnnxSession session) : IDisposable
    {
        public LoadedVersion Version { get; } = new("test", new ServedModel(Guid.NewGuid(), "test", 1, new string('0', 64)), session, new BatchLimits(8, TimeSpan.Zero, 100), TimeProvider.System);

        private int Probabilities => Version.Signature.Outputs.Select(o => o.Name).ToList().IndexOf(RowModel.ProbabilitiesOutput);

        public async Task<float[]> InferAsync(Tensor input, int rows) => Floats((await Version.InferAsync(new InferenceWork([input], rows, [Probabilities]), default))[0]);

        public GrowingText Write(string prompt, int most) => GrowingText.Of(
            Version, Version.Rows.Columns[0], Probabilities, TextData.Tokens(Encoding.UTF8.GetBytes(prompt), Context), most, new CacheBudget(Options.Create(new InferenceOptions())));

        public void Dispose() => Version.Retire();
    }
}
