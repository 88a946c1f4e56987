using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.ServiceDefaults.Tests.Http;

public sealed class ServiceClientTests : IAsyncDisposable
{
    private readonly List<StubServer> _peers = [];
    private readonly ConcurrentQueue<HttpRequestSeen> _seen = new();
    private int _calls;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Call_CarriesTheServicesIdentity()
    {
        var client = Client(await PeerAsync(_ => 200));
        (await client.GetAsync("/things", Token)).EnsureSuccessStatusCode();
        var identity = TestIdentity.Tokens.Validate(Assert.Single(_seen).Identity);
        Assert.Equal(("service:sample", Roles.Service), (identity!.Sub, identity.Role));
    }

    [Theory]
    [InlineData("GET")]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    public async Task IdempotentCall_ToABusyPeer_IsRepeated(string method)
    {
        var client = Client(await PeerAsync(call => call < 3 ? 503 : 200));
        using var request = new HttpRequestMessage(new HttpMethod(method), "/things");
        if (method == "PUT")
        {
            request.Content = JsonContent.Create(new { text = "same each time" });
        }

        using var response = await client.SendAsync(request, Token);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(3, _seen.Count);
        Assert.Single(_seen.Select(seen => seen.Body).Distinct());
    }

    [Fact]
    public async Task Post_ToABusyPeer_IsSentOnce()
    {
        var client = Client(await PeerAsync(_ => 503));
        using var response = await client.PostAsJsonAsync("/things", new { }, Token);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.Single(_seen);
    }

    [Fact]
    public async Task Call_WithOneInstanceDown_ReachesTheOther()
    {
        var up = await PeerAsync(_ => 200);
        var client = Client(new Uri("http://127.0.0.1:9"), up); // Port 9 (discard): nobody listens.
        for (var i = 0; i < 4; i++)
        {
            (await client.PostAsJsonAsync("/things", new { }, Token)).EnsureSuccessStatusCode();
        }

        Assert.Equal(4, _seen.Count);
    }

    [Fact]
    public async Task Calls_OverTwoInstances_TakeTurns()
    {
        var (first, second) = (await PeerAsync(_ => 200), await PeerAsync(_ => 200));
        var client = Client(first, second);
        for (var i = 0; i < 6; i++)
        {
            (await client.GetAsync("/things", Token)).EnsureSuccessStatusCode();
        }

        Assert.Equal([3, 3], _seen.GroupBy(seen => seen.Port).Select(group => group.Count()));
    }

    [Fact]
    public async Task Call_ThatHangs_EndsAtTheAttemptsTimeout()
    {
        var (time, timeout) = (new ManualTime(), TimeSpan.FromHours(1));
        var client = Client(options => (options.AttemptTimeout, options.Retries, options.Time) = (timeout, 1, time), await PeerAsync(_ => 0));

        var call = client.GetAsync("/things", Token);
        await Eventually.True(() => _seen.Count == 1);
        time.Advance(timeout);
        await Eventually.True(() =>
        {
            time.Advance(TimeSpan.FromSeconds(1)); // the pause before the next attempt is random
            return _seen.Count == 2;
        });
        Assert.False(call.IsCompleted);
        time.Advance(timeout);

        await Assert.ThrowsAsync<Polly.Timeout.TimeoutRejectedException>(() => call);
        Assert.Equal(2, _seen.Count);
    }

    [Fact]
    public async Task Service_WithoutAddress_IsNamedInTheFault()
    {
        var fault = await Assert.ThrowsAsync<InvalidOperationException>(() => Client().GetAsync("/things", Token));
        Assert.Contains("services__peer__http__0", fault.Message);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var peer in _peers)
        {
            await peer.DisposeAsync();
        }
    }

    private async Task<Uri> PeerAsync(Func<int, int> status)
    {
        var peer = await StubServer.StartAsync(server => server.MapFallback(async (HttpContext http) =>
        {
            var body = await new StreamReader(http.Request.Body).ReadToEndAsync();
            _seen.Enqueue(new HttpRequestSeen(http.Connection.LocalPort, http.Request.Headers[IdentityTokens.Header], body));
            var answer = status(Interlocked.Increment(ref _calls));
            if (answer == 0)
            {
                await Task.Delay(Timeout.Infinite, http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            http.Response.StatusCode = answer == 0 ? 200 : answer;
        }));
        _peers.Add(peer);
        return peer.Address;
    }

    private static HttpClient Client(params Uri[] instances) => Client(_ => { }, instances);

    private static HttpClient Client(Action<ServiceClientOptions> configure, params Uri[] instances)
    {
        var builder = WebApplication.CreateBuilder();
        builder.Configuration["Identity:SigningKey"] = TestIdentity.SigningKey;
        for (var i = 0; i < instances.Length; i++)
        {
            builder.Configuration[$"services:peer:http:{i}"] = instances[i].AbsoluteUri;
        }

        builder.AddServiceDefaults("sample");
        builder.AddServiceClient<PeerClient>("peer", configure);
        return builder.Build().Services.GetRequiredService<PeerClient>().Http;
    }

    private sealed record HttpRequestSeen(int Port, string? Identity, string Body);

    private sealed class PeerClient(HttpClient http)
    {
        public HttpClient Http { get; } = http;
    }
}
