using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.Gateway.Tests.Routing;

public sealed class RoutingTests(GatewayFixture gateway) : IClassFixture<GatewayFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("GET", "/api/v1/datasets")]
    [InlineData("GET", "/api/v1/datasets/5f/manifest?x=1&y=a%20b")]
    [InlineData("DELETE", "/api/v1/models/breast-cancer/versions/3")]
    [InlineData("GET", "/api/v1/registry/usage")]
    [InlineData("HEAD", "/api/v1/blobs/00ff")]
    [InlineData("GET", "/api/v1/audit/verify")]
    [InlineData("GET", "/api/v1/compressions/1")]
    [InlineData("PUT", "/api/v1/deployments/credit")]
    [InlineData("GET", "/api/v1/predictions/1/lineage")]
    [InlineData("GET", "/api/v1/jobs")]
    [InlineData("GET", "/v2")]
    [InlineData("GET", "/v2/models/credit/versions/2/ready")]
    public async Task Resource_OfAService_IsForwardedAsItIs(string method, string target)
    {
        using var client = gateway.Admin();
        using var response = await client.SendAsync(new HttpRequestMessage(new HttpMethod(method), target), Token);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Contains(gateway.Upstream.Seen, seen => seen.Method == method && seen.Target == target);
    }

    [Fact]
    public async Task Service_SeesWhoTheKeyIs_AndNeverTheKey()
    {
        var (id, key) = await gateway.NewKeyAsync(Roles.Operator, "grace");
        using var client = gateway.With(key);
        client.DefaultRequestHeaders.Add("X-Api-Key", key);
        await client.GetAsync("/api/v1/datasets/who", Token);
        var seen = gateway.Upstream.Seen.Single(seen => seen.Target == "/api/v1/datasets/who");
        Assert.Equal(("grace", Roles.Operator, id.ToString()), (seen.Identity!.Sub, seen.Identity.Role, seen.Identity.Key));
        Assert.DoesNotContain(seen.Headers, header => header.Value.Contains(key) || header.Key is "Authorization" or "X-Api-Key");
    }

    [Fact]
    public async Task Identity_SentFromOutside_IsReplaced()
    {
        using var client = await gateway.ClientAsync(Roles.Reader, "eve");
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, TestIdentity.Token(Roles.Admin, "ada")); // Even a valid one.
        await client.GetAsync("/api/v1/datasets/forged", Token);
        var seen = gateway.Upstream.Seen.Single(seen => seen.Target == "/api/v1/datasets/forged");
        Assert.Equal(("eve", Roles.Reader), (seen.Identity!.Sub, seen.Identity.Role));
    }

    [Theory]
    [InlineData("/api/v1/me")]
    [InlineData("/api/v1/keys")]
    [InlineData("/api/v1/datasets")]
    public async Task Identity_SentFromOutside_IsNoIdentity(string path)
    {
        using var client = gateway.ClientOf(Roles.Admin);
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync(path, Token)).StatusCode);
    }

    [Theory]
    [InlineData("/api/v1/datasets/../../../openapi/v1.json")]
    [InlineData("/api/v1/datasets/%2e%2e/%2E%2e/alive")]
    [InlineData("/api/v1/datasets/..%2f..%2falive")]
    [InlineData("/api/v1/datasets/..%5c..%5calive")]
    [InlineData("/api/v1/datasets/..\\..\\alive")]
    [InlineData("/api/v1/datasets/%252e%252e/x")]
    [InlineData("/api/v1/datasets/a%00b")]
    [InlineData("/api/v1/datasets/a%0d%0aX-Evil:1")]
    [InlineData("/api/v1/blobs/.%2e/x")]
    public async Task Path_ThatClimbs_Is400AndReachesNoService(string path)
    {
        var before = gateway.Upstream.Seen.Count;
        var (status, _) = await RawAsync($"GET {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {gateway.AdminKey}\r\nConnection: close\r\n\r\n");
        Assert.Equal(400, status);
        Assert.Equal(before, gateway.Upstream.Seen.Count);
    }

    [Fact]
    public async Task WebSocket_IsRefusedWithTheAlternative()
    {
        var (status, text) = await RawAsync($"""
            GET /api/v1/jobs HTTP/1.1
            Host: x
            X-Api-Key: {gateway.AdminKey}
            Connection: Upgrade, close
            Upgrade: websocket
            Sec-WebSocket-Version: 13
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==


            """.ReplaceLineEndings("\r\n"));
        Assert.Equal(400, status);
        Assert.Contains("server-sent events", text);
    }

    [Fact]
    public async Task Events_PassWithoutBeingHeldBack()
    {
        using var client = gateway.Admin();
        using var response = await client.GetAsync("/api/v1/jobs/1/events", HttpCompletionOption.ResponseHeadersRead, Token);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Token));
        Assert.Equal("event: progress", await reader.ReadLineAsync(Token).AsTask().WaitAsync(Eventually.Deadline, Token));
        gateway.Upstream.FirstEventRead.SetResult(); // Only now may the service send the second.
        Assert.Contains("data: 2", await reader.ReadToEndAsync(Token));
    }

    [Fact]
    public async Task Problem_OfAService_PassesAsItIs()
    {
        using var client = gateway.Admin();
        using var response = await client.GetAsync("/api/v1/jobs/refuse", Token);
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Contains("no such job", await response.Content.ReadAsStringAsync(Token));
    }

    [Theory]
    [InlineData("/api/v1/explanations", 503, "'explainability' cannot be reached")]
    [InlineData("/api/v1/jobs/break", 502, "'scheduling' broke off")]
    public async Task Service_ThatDoesNotAnswer_IsNamed(string path, int expected, string reason)
    {
        using var client = gateway.Admin();
        using var response = await client.GetAsync(path, Token);
        Assert.Equal(expected, (int)response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.Contains(reason, problem.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task Trace_OfTheClient_ReachesTheService()
    {
        const string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        using var client = gateway.Admin();
        client.DefaultRequestHeaders.Add("traceparent", $"00-{trace}-00f067aa0ba902b7-01");
        await client.GetAsync("/api/v1/datasets/traced", Token);
        Assert.Contains(trace, gateway.Upstream.Seen.Single(seen => seen.Target == "/api/v1/datasets/traced").Headers["traceparent"]);
    }

    private async Task<(int Status, string Text)> RawAsync(string request)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(gateway.Address.Host, gateway.Address.Port, Token);
        await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes(request), Token);
        using var reader = new StreamReader(tcp.GetStream());
        var text = await reader.ReadToEndAsync(Token);
        return (int.Parse(text.Split(' ')[1]), text);
    }
}

/// <summary>A gateway that waits for no service longer than a second: apart from those whose services answer, which a busy machine may hold up.</summary>
public sealed class ImpatientRoutingTests(ImpatientRoutingTests.Fixture gateway) : IClassFixture<ImpatientRoutingTests.Fixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Service_ThatHangs_IsNamed()
    {
        using var client = gateway.Admin();
        using var response = await client.GetAsync("/api/v1/jobs/hang", Token);
        Assert.Equal(HttpStatusCode.GatewayTimeout, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.Contains("'scheduling' did not answer in time", problem.GetProperty("detail").GetString());
    }

    public sealed class Fixture : GatewayFixture
    {
        public Fixture() => With("Gateway:ActivityTimeout", "00:00:01");
    }
}
