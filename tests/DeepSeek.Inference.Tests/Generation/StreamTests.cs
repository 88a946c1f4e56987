using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Generation;
using DeepSeek.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace DeepSeek.Inference.Tests.Generation;

/// <summary>Texts sent while they are written.</summary>
public sealed class StreamTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const string Drawn = """{"prompt": "ab", "maxTokens": 200, "temperature": 1.5, "seed": 9}""";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stream_OfAnyBytes_AddsUpToTheWholeReply()
    {
        var name = await service.DeployAsync(AttendingModel.Onnx(32, cached: true));
        var whole = await (await PostAsync(name, Drawn)).JsonAsync();

        using var response = await PostAsync(name, Streamed(Drawn));
        var events = await ReadAsync(response);

        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("[DONE]", events[^1]);
        var parts = events.SkipLast(1).Select(data => JsonElement.Parse(data)).ToList();
        // Bytes at random: many form no character, and several may form one.
        Assert.Equal(whole.GetProperty("text").GetString(), string.Concat(parts.Select(p => p.GetProperty("text").GetString())));
        Assert.True(parts.Count > 50, $"{parts.Count} events");
        var end = parts[^1];
        Assert.Equal(whole.GetProperty("finishReason").GetString(), end.GetProperty("finishReason").GetString());
        Assert.Equal(whole.GetProperty("tokens").GetInt32(), end.GetProperty("tokens").GetInt32());
        Assert.Equal(9, end.GetProperty("seed").GetInt64());
        Assert.Equal(response.Headers.GetValues("X-Prediction-Id").Single(), end.GetProperty("predictionId").GetString());
        Assert.All(parts.SkipLast(1), p => Assert.False(p.TryGetProperty("finishReason", out _)));
    }

    [Fact]
    public async Task Stream_ThatEndsTheDocument_SaysSo()
    {
        var name = await service.DeployAsync(Models.Language());

        var events = await ReadAsync(await PostAsync(name, """{"prompt": "a", "temperature": 0, "stream": true}"""));

        Assert.Equal(["b", "c", "d", ""], events.SkipLast(1).Select(data => JsonElement.Parse(data).GetProperty("text").GetString()));
        Assert.Equal("document", JsonElement.Parse(events[^2]).GetProperty("finishReason").GetString());
    }

    [Fact]
    public async Task Stream_RefusedBeforeItsFirstToken_IsAProblem()
    {
        var table = await service.DeployAsync(Models.Regressor(2));

        Assert.Contains("no language model", (await (await PostAsync(table, Streamed(Drawn))).ProblemAsync(400)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        await (await PostAsync(table, """{"stream": true, "maxTokens": 0}""")).ProblemAsync(400);
    }

    [Fact]
    public async Task Client_LeavingInTheMiddle_StopsTheWork()
    {
        // 4.5 million weights a token: thousands of tokens take seconds, leaving takes milliseconds.
        var name = await service.DeployAsync(AttendingModel.Onnx(64, cached: true, width: 1024, ends: false));
        string id;
        using (var response = await PostAsync(name, """{"maxTokens": 4096, "stream": true, "temperature": 0}"""))
        {
            id = response.Headers.GetValues("X-Prediction-Id").Single();
            await using var body = await response.Content.ReadAsStreamAsync(Token);
            await SseParser.Create(body).EnumerateAsync(Token).FirstAsync(Token);
        }

        var logged = await LoggedAsync(id);
        Assert.Equal("cancelled", logged.GetProperty("finishReason").GetString());
        Assert.InRange(logged.GetProperty("tokens").GetInt32(), 1, 4000);
        Assert.Equal(0, service.Services.GetRequiredService<CacheBudget>().Taken);
        // Nobody stands in the way of the next.
        Assert.Equal(2, (await (await PostAsync(name, """{"maxTokens": 2, "temperature": 0}""")).JsonAsync()).GetProperty("tokens").GetInt32());
    }

    [Fact]
    public async Task OpenApi_OfGenerate_TellsBothForms()
    {
        var document = await (await service.Http.GetAsync("/openapi/v1.json", Token)).JsonAsync();

        var reply = document.GetProperty("paths").GetProperty("/api/v1/deployments/{name}/generate").GetProperty("post").GetProperty("responses").GetProperty("200").GetProperty("content");
        Assert.Equal(["application/json", "text/event-stream"], reply.EnumerateObject().Select(form => form.Name).Order());
    }

    private async Task<JsonElement> LoggedAsync(string id)
    {
        var prediction = default(JsonElement);
        await Eventually.True(async () =>
        {
            prediction = await (await service.Http.GetAsync($"/api/v1/predictions/{id}", Token)).JsonAsync();
            return prediction.GetProperty("logged").GetBoolean();
        });
        return prediction.GetProperty("result")[0];
    }

    private static string Streamed(string json) => json[..^1] + ", \"stream\": true}";

    private async Task<HttpResponseMessage> PostAsync(string name, string json) => await service.Http.SendAsync(
        new HttpRequestMessage(HttpMethod.Post, $"/api/v1/deployments/{name}/generate") { Content = new StringContent(json, Encoding.UTF8, "application/json") },
        HttpCompletionOption.ResponseHeadersRead,
        Token);

    private static async Task<List<string>> ReadAsync(HttpResponseMessage response)
    {
        using (response)
        {
            Assert.True(response.IsSuccessStatusCode, $"{response.StatusCode}");
            await using var body = await response.Content.ReadAsStreamAsync(Token);
            return await SseParser.Create(body).EnumerateAsync(Token).Select(item => item.Data).ToListAsync(Token);
        }
    }
}
