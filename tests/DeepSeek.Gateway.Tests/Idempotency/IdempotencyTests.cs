using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Gateway.Limits;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Gateway.Tests.Idempotency;

public sealed class IdempotencyTests(GatewayFixture gateway) : IClassFixture<GatewayFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Repeat_GetsTheFirstResponseAgain()
    {
        var key = Guid.NewGuid().ToString();
        using var first = await PostAsync("/api/v1/runs", """{"a":1}""", key);
        using var second = await PostAsync("/api/v1/runs", """{"a":1}""", key);
        Assert.Equal(HttpStatusCode.Accepted, first.StatusCode);
        Assert.False(first.Headers.Contains("Idempotency-Replayed"));
        Assert.Equal("true", second.Headers.GetValues("Idempotency-Replayed").Single());
        Assert.Equal((first.StatusCode, first.Headers.Location, first.Headers.ETag?.Tag, first.Content.Headers.ContentType?.ToString()),
            (second.StatusCode, second.Headers.Location, second.Headers.ETag?.Tag, second.Content.Headers.ContentType?.ToString()));
        Assert.Equal(await first.Content.ReadAsStringAsync(Token), await second.Content.ReadAsStringAsync(Token));
        Assert.Single(gateway.Upstream.Seen, seen => seen.Headers.GetValueOrDefault("Idempotency-Key") == key);
    }

    [Theory]
    [InlineData("/api/v1/runs", """{"a":2}""")]
    [InlineData("/api/v1/runs?dry=true", """{"a":1}""")]
    [InlineData("/api/v1/compressions", """{"a":1}""")]
    public async Task Key_UsedForAnotherRequest_Is422(string path, string body)
    {
        var key = Guid.NewGuid().ToString();
        (await PostAsync("/api/v1/runs", """{"a":1}""", key)).Dispose();
        using var other = await PostAsync(path, body, key);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, other.StatusCode);
        Assert.Single(gateway.Upstream.Seen, seen => seen.Headers.GetValueOrDefault("Idempotency-Key") == key);
    }

    [Fact]
    public async Task Key_OfAnotherPrincipal_IsAnotherKey()
    {
        var key = Guid.NewGuid().ToString();
        (await PostAsync("/api/v1/runs", "{}", key)).Dispose();
        using var client = await gateway.ClientAsync(Roles.Operator, "other");
        using var response = await PostAsync("/api/v1/runs", "{}", key, client);
        Assert.False(response.Headers.Contains("Idempotency-Replayed"));
        Assert.Equal(2, gateway.Upstream.Seen.Count(seen => seen.Headers.GetValueOrDefault("Idempotency-Key") == key));
    }

    [Fact]
    public async Task Repeat_WhileTheFirstRuns_Is409()
    {
        var key = Guid.NewGuid().ToString();
        gateway.Upstream.Gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var first = PostAsync("/api/v1/runs", "{}", key);
        await Eventually.True(() => gateway.Upstream.Seen.Any(seen => seen.Headers.GetValueOrDefault("Idempotency-Key") == key));
        using var second = await PostAsync("/api/v1/runs", "{}", key);
        Assert.Equal(HttpStatusCode.Conflict, second.StatusCode);
        gateway.Upstream.Gate.SetResult();
        gateway.Upstream.Gate = null;
        Assert.Equal(HttpStatusCode.Accepted, (await first).StatusCode);
        using var third = await PostAsync("/api/v1/runs", "{}", key);
        Assert.True(third.Headers.Contains("Idempotency-Replayed"));
    }

    [Fact]
    public async Task Key_OfAFailedRequest_IsFreeAgain()
    {
        var key = Guid.NewGuid().ToString();
        var statuses = new List<HttpStatusCode>();
        for (var i = 0; i < 2; i++)
        {
            using var response = await PostAsync("/api/v1/runs/flaky", "{}", key);
            statuses.Add(response.StatusCode);
            Assert.False(response.Headers.Contains("Idempotency-Replayed"));
        }

        Assert.Equal([HttpStatusCode.ServiceUnavailable, HttpStatusCode.Created], statuses);
    }

    [Fact]
    public async Task Secret_IsNotStored_AndARepeatIs409NamingTheKeyToRevoke()
    {
        var key = Guid.NewGuid().ToString();
        using var first = await PostAsync("/api/v1/keys", """{"name":"ada","role":"reader"}""", key);
        using var second = await PostAsync("/api/v1/keys", """{"name":"ada","role":"reader"}""", key);

        Assert.Equal(HttpStatusCode.Created, first.StatusCode);
        Assert.True(first.Headers.CacheControl!.NoStore);
        var secret = JsonElement.Parse(await first.Content.ReadAsStringAsync(Token)).GetProperty("key").GetString()!;
        Assert.Equal(HttpStatusCode.Conflict, second.StatusCode);
        Assert.Equal("true", second.Headers.GetValues("Idempotency-Replayed").Single());
        Assert.Equal(first.Headers.Location, second.Headers.Location);
        var problem = await second.Content.ReadAsStringAsync(Token);
        Assert.Contains($"revoke {first.Headers.Location}", problem, StringComparison.Ordinal);
        Assert.DoesNotContain(secret, problem, StringComparison.Ordinal);
        var stored = await StoredAsync(key);
        var response = JsonElement.Parse(stored).GetProperty("response");
        Assert.Equal(201, response.GetProperty("status").GetInt32());
        Assert.Equal(["Location"], response.GetProperty("headers").EnumerateObject().Select(header => header.Name));
        Assert.False(response.TryGetProperty("body", out var body) && body.ValueKind is not JsonValueKind.Null);
    }

    [Fact]
    public async Task Response_TooLargeToKeep_PassesWhole()
    {
        var key = Guid.NewGuid().ToString();
        using var first = await PostAsync("/api/v1/runs/large", "{}", key);
        Assert.InRange((await first.Content.ReadAsByteArrayAsync(Token)).Length, 2 << 20, 3 << 20);
        using var second = await PostAsync("/api/v1/runs/large", "{}", key);
        Assert.False(second.Headers.Contains("Idempotency-Replayed"));
    }

    [Fact]
    public async Task Upload_IsRecognisedWithoutItsBytes()
    {
        var key = Guid.NewGuid().ToString();
        async Task<HttpResponseMessage> UploadAsync()
        {
            using var client = gateway.Admin();
            using var form = new MultipartFormDataContent { { new StringContent("{}"), "spec" }, { new ByteArrayContent(new byte[1000]), "file", "a.csv" } };
            using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/datasets") { Content = form, Headers = { { "Idempotency-Key", key } } };
            return await client.SendAsync(request, Token);
        }

        (await UploadAsync()).EnsureSuccessStatusCode().Dispose();
        using var second = await UploadAsync();
        Assert.True(second.Headers.Contains("Idempotency-Replayed"));
    }

    [Theory]
    [InlineData("")]
    [InlineData(256)]
    public async Task Key_OfWrongLength_Is400(object length)
    {
        using var response = await PostAsync("/api/v1/runs", "{}", length is int count ? new string('k', count) : "");
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("Idempotency-Key", await response.Content.ReadAsStringAsync(Token));
    }

    /// <summary>What Redis holds under the administrator's key.</summary>
    private async Task<string> StoredAsync(string key)
    {
        using var client = gateway.Admin();
        var me = JsonElement.Parse(await client.GetStringAsync("/api/v1/me", Token)).GetProperty("keyId").GetString();
        var name = $"deepseek:gateway:idempotency:{me}:{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(key)))}";
        return (await gateway.Services.GetRequiredService<Cache>().RunAsync(redis => redis.StringGetAsync(name), Token)).ToString();
    }

    private async Task<HttpResponseMessage> PostAsync(string path, string body, string key, HttpClient? with = null)
    {
        using var own = with is null ? gateway.Admin() : null;
        using var request = new HttpRequestMessage(HttpMethod.Post, path)
        {
            Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json")),
        };
        request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        return await (with ?? own!).SendAsync(request, Token);
    }
}
