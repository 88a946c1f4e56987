using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Gateway.Idempotency;
using DeepSeek.Gateway.Limits;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.Testing;
using Yarp.ReverseProxy.Forwarder;

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
        Assert.Equal(TimeSpan.FromSeconds(1), second.Headers.RetryAfter!.Delta);
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
    public async Task Client_GoneAfterTheAnswer_GetsItOnTheRepeat()
    {
        using var gone = new CancellationTokenSource();
        var key = Guid.NewGuid().ToString();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunAsync(key, async http =>
        {
            http.Response.StatusCode = 202;
            await http.Response.Body.WriteAsync("""{"run":"""u8.ToArray(), http.RequestAborted);
            await gone.CancelAsync();
            await http.Response.Body.WriteAsync("1}"u8.ToArray(), http.RequestAborted);
        }, gone.Token));

        var repeat = await RunAsync(key, _ => throw new InvalidOperationException("A repeat does no work."), Token);

        Assert.Equal((202, "true"), (repeat.Response.StatusCode, repeat.Response.Headers["Idempotency-Replayed"].ToString()));
        Assert.Equal("""{"run":1}""", Encoding.UTF8.GetString(((MemoryStream)repeat.Response.Body).ToArray()));
    }

    [Fact]
    public async Task Service_ThatBrokeOff_FreesTheKeyWhateverTheStatus()
    {
        var key = Guid.NewGuid().ToString();
        await RunAsync(key, http =>
        {
            http.Response.StatusCode = 400;
            http.Features.Set<IForwarderErrorFeature>(new Fault());
            return Task.CompletedTask;
        }, Token);

        var repeat = await RunAsync(key, http =>
        {
            http.Response.StatusCode = 201;
            return Task.CompletedTask;
        }, Token);

        Assert.Equal(201, repeat.Response.StatusCode);
    }

    [Theory]
    [InlineData("POST")]
    [InlineData("PUT")]
    public async Task Key_ReachesTheService(string method)
    {
        var key = Guid.NewGuid().ToString();
        using var client = gateway.Admin();
        for (var i = 0; i < 2; i++)
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), "/api/v1/deployments/d") { Headers = { { "Idempotency-Key", key } } };
            (await client.SendAsync(request, Token)).EnsureSuccessStatusCode().Dispose();
        }

        Assert.Equal(method, Assert.Single(gateway.Upstream.Seen, seen => seen.Headers.GetValueOrDefault("Idempotency-Key") == key).Method);
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

    /// <summary>Sends a request through the middleware alone, where a client can go at a chosen moment.</summary>
    private async Task<HttpContext> RunAsync(string key, RequestDelegate work, CancellationToken aborted)
    {
        var services = gateway.Services;
        var http = new DefaultHttpContext
        {
            RequestServices = services,
            RequestAborted = aborted,
            User = new PlatformIdentity { Sub = "ada", Name = "ada", Role = Roles.Operator, Key = "key-of-ada" }.ToPrincipal(),
            Request = { Method = "POST", Path = "/api/v1/runs", Headers = { ["Idempotency-Key"] = key } },
            Response = { Body = new MemoryStream() },
        };
        await ActivatorUtilities.CreateInstance<IdempotencyKeys>(services, work).InvokeAsync(http);
        return http;
    }

    private sealed class Fault : IForwarderErrorFeature
    {
        public ForwarderError Error => ForwarderError.ResponseBodyCanceled;
        public Exception? Exception => null;
    }

    /// <summary>What Redis holds under the administrator's key.</summary>
    private async Task<string> StoredAsync(string key)
    {
        using var client = gateway.Admin();
        var me = JsonElement.Parse(await client.GetStringAsync("/api/v1/me", Token)).GetProperty("keyId").GetString();
        var name = $"deepseek:gateway:idempotency:{me}:{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(key)))}";
        return (await gateway.Services.GetRequiredService<Cache>().RunAsync(redis => redis.StringGetAsync(name), Token)).ToString();
    }

    [Fact]
    public async Task EventStream_UnderAKey_PassesAsItComesAndEndsWithItsReader()
    {
        var key = Guid.NewGuid().ToString();
        using var client = gateway.Admin();
        async Task<HttpResponseMessage> StreamAsync()
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/deployments/d/generate") { Content = new StringContent("{}", Encoding.UTF8, "application/json") };
            request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
            return await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Token);
        }

        using (var response = await StreamAsync().WaitAsync(Eventually.Deadline, Token))
        {
            using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Token));
            // The service sends no more until somebody has told it of this.
            Assert.Equal("event: progress", await reader.ReadLineAsync(Token).AsTask().WaitAsync(Eventually.Deadline, Token));
        }

        await gateway.Upstream.Left.Task.WaitAsync(Eventually.Deadline, Token);
        // Nothing was kept: a repeat is a stream of its own.
        await Eventually.True(async () =>
        {
            using var again = await StreamAsync();
            return again.StatusCode == HttpStatusCode.OK && !again.Headers.Contains("Idempotency-Replayed");
        });
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
