using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Rows;

namespace DeepSeek.Inference.Tests.Rows;

/// <summary>Texts as rows, and texts that a model writes.</summary>
public sealed class TextTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    // e² against 256 other tokens of weight 1.
    private static readonly double s_next = Math.Exp(2) / (Math.Exp(2) + 256);

    [Fact]
    public async Task Rows_OfDifferentLengths_GiveTheTokenBehindEach()
    {
        var name = await service.DeployAsync(Models.Language());

        // The last is longer than the model's sight of 8 tokens; its end counts.
        var reply = await (await service.PredictAsync(name, """{"rows": [{"story": ""}, {"story": "xyza"}, {"story": "d"}, {"story": "the quick brown foxb"}, {"story": "ç"}]}""")).JsonAsync();

        var predictions = reply.GetProperty("predictions");
        // "ç" is C3 A7 in UTF-8, and behind A7 (167) comes 168.
        Assert.Equal(["a", "b", "t256", "c", "t168"], predictions.EnumerateArray().Select(p => p.GetProperty("label").GetString()));
        Assert.Equal(s_next, predictions[1].GetProperty("probabilities").GetProperty("b").GetDouble(), 1e-6);
        Assert.Equal(257, predictions[1].GetProperty("probabilities").EnumerateObject().Count());
    }

    [Theory]
    [InlineData("null")]
    [InlineData("7")]
    [InlineData("[\"a\"]")]
    public async Task Row_WithoutText_Is400NamingIt(string value)
    {
        var name = await service.DeployAsync(Models.Language());

        var problem = await (await service.PredictAsync(name, $$"""{"rows": [{"story": {{value}}}]}""")).ProblemAsync(400);

        Assert.Contains("must be text", problem.GetProperty("errors").GetProperty("rows[0].story")[0].GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_MostProbable_WritesToTheEndOfTheDocument()
    {
        var name = await service.DeployAsync(Models.Language());

        using var response = await GenerateAsync(name, """{"prompt": "a", "temperature": 0}""");
        var reply = await response.JsonAsync();
        var begun = await (await GenerateAsync(name, """{"maxTokens": 2, "temperature": 0}""")).JsonAsync();

        Assert.Equal(("bcd", 3, "document"), (reply.GetProperty("text").GetString(), reply.GetProperty("tokens").GetInt32(), reply.GetProperty("finishReason").GetString()));
        Assert.Equal(("ab", "length"), (begun.GetProperty("text").GetString(), begun.GetProperty("finishReason").GetString()));
        Assert.Equal(reply.GetProperty("predictionId").GetString(), response.Headers.GetValues("X-Prediction-Id").Single());
    }

    [Fact]
    public async Task Generate_SameSeed_SameText()
    {
        var name = await service.DeployAsync(Models.Language());
        const string body = """{"prompt": "a", "maxTokens": 40, "seed": 5}""";

        var (first, again) = (await (await GenerateAsync(name, body)).JsonAsync(), await (await GenerateAsync(name, body)).JsonAsync());
        var other = await (await GenerateAsync(name, body.Replace('5', '6'))).JsonAsync();

        Assert.Equal(first.GetProperty("text").GetString(), again.GetProperty("text").GetString());
        Assert.NotEqual(first.GetProperty("text").GetString(), other.GetProperty("text").GetString());
        Assert.Equal(5, first.GetProperty("seed").GetInt64());
    }

    [Theory]
    [InlineData("""{"maxTokens": 0}""", "maxTokens")]
    [InlineData("""{"temperature": -1}""", "temperature")]
    [InlineData("""{"topK": 5000}""", "topK")]
    public async Task Generate_BadRequest_NamesTheField(string body, string field)
    {
        var name = await service.DeployAsync(Models.Language());

        var problem = await (await GenerateAsync(name, body)).ProblemAsync(400);

        Assert.True(problem.GetProperty("errors").TryGetProperty(field, out _), problem.GetRawText());
    }

    [Fact]
    public async Task Generate_OfATable_IsRefused()
    {
        var name = await service.DeployAsync(Models.Regressor(2));

        var problem = await (await GenerateAsync(name, """{"prompt": "a"}""")).ProblemAsync(400);

        Assert.Contains("no language model", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Sampler_ManyDraws_FollowsTemperatureAndTopK()
    {
        float[] probabilities = [0.1f, 0.4f, 0.4f, 0.1f];
        double Share(double temperature, int topK, int token)
        {
            var sampler = new TokenSampler(temperature, topK, 11);
            return Enumerable.Range(0, 20_000).Count(_ => sampler.Next(probabilities) == token) / 20_000.0;
        }

        // Three standard errors of 20 000 draws are 0.011 at most.
        Assert.Equal(0.4, Share(1, 0, 2), 0.011);
        Assert.Equal(0.5, Share(1, 2, 1), 0.011);
        Assert.Equal(0.16 / 0.34, Share(0.5, 0, 1), 0.011);
        Assert.Equal(1, Share(0, 0, 1)); // ties: the lowest
        Assert.Equal(0, Share(1, 3, 3));
    }

    [Fact]
    public void Tokens_OfALongText_KeepItsEnd()
    {
        Assert.Equal([256L, 'a', 'b'], TextData.Tokens("ab"u8, 4));
        Assert.Equal([256L, 'a', 'b', 'c'], TextData.Tokens("abc"u8, 4));
        Assert.Equal([(long)'a', 'b', 'c', 'd'], TextData.Tokens("abcd"u8, 4));
        Assert.Equal([256L], TextData.Tokens([], 4));
    }

    private Task<HttpResponseMessage> GenerateAsync(string name, string json) =>
        service.Http.PostAsync($"/api/v1/deployments/{name}/generate", new StringContent(json, Encoding.UTF8, "application/json"));
}
