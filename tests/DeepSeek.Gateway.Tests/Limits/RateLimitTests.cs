using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Gateway.Tests.Limits;

public sealed class RateLimitTests(RateLimitTests.Fixture gateway) : IClassFixture<RateLimitTests.Fixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Requests_OverTheBurst_Get429AndPassAfterRetryAfter()
    {
        using var client = await gateway.ClientAsync(Roles.Reader, "fast");
        HttpResponseMessage refused;
        var passed = 0;
        while ((refused = await client.GetAsync("/api/v1/me", Token)).StatusCode == HttpStatusCode.OK)
        {
            passed++;
        }

        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.InRange(passed, Fixture.Burst, Fixture.Burst + 40); // What refilled (1 per second) while a slow machine sent the burst.
        var problem = await refused.Content.ReadFromJsonAsync<JsonElement>(Token);
        var exact = TimeSpan.FromMilliseconds(problem.GetProperty("retryAfterMs").GetInt64());
        Assert.InRange(exact, TimeSpan.FromMilliseconds(1), TimeSpan.FromSeconds(1)); // One token at one per second.
        Assert.Equal(Math.Ceiling(exact.TotalSeconds), refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds);
        var watch = Stopwatch.StartNew();
        await Eventually.True(() => watch.Elapsed >= exact);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/api/v1/me", Token)).StatusCode);
    }

    [Fact]
    public async Task Limit_OfOneKey_DoesNotTouchAnother()
    {
        using var fast = await gateway.ClientAsync(Roles.Reader, "first");
        while ((await fast.GetAsync("/api/v1/me", Token)).StatusCode == HttpStatusCode.OK)
        {
        }

        using var other = await gateway.ClientAsync(Roles.Reader, "second");
        Assert.Equal(HttpStatusCode.OK, (await other.GetAsync("/api/v1/me", Token)).StatusCode);
    }

    public sealed class Fixture : GatewayFixture
    {
        public const int Burst = 20;

        public Fixture() => With("Gateway:RequestsPerSecond", "1").With("Gateway:Burst", $"{Burst}");
    }
}

public sealed class WithoutRedisTests(WithoutRedisTests.Fixture gateway) : IClassFixture<WithoutRedisTests.Fixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Requests_Pass()
    {
        using var client = gateway.Admin();
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/api/v1/datasets", Token)).StatusCode);
    }

    [Fact]
    public async Task IdempotencyKey_Is503BecauseItCannotBeKept()
    {
        using var client = gateway.Admin();
        client.DefaultRequestHeaders.Add("Idempotency-Key", "k");
        using var response = await client.PostAsJsonAsync("/api/v1/runs", new { }, Token);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.DoesNotContain(gateway.Upstream.Seen, seen => seen.Method == "POST");
    }

    [Fact]
    public async Task Health_IsDegradedNotDown()
    {
        using var client = gateway.Anonymous();
        await Eventually.True(async () => (await client.GetStringAsync("/health", Token)).Contains("Degraded"));
    }

    public sealed class Fixture : GatewayFixture
    {
        public Fixture() => With("ConnectionStrings:cache", "127.0.0.1:9,password=none").With("Gateway:CachePatience", "00:00:00.750");
    }
}
