using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Tests.Sample;

namespace DeepSeek.ServiceDefaults.Tests.Http;

public sealed class ProblemTests(SampleFixture sample) : IClassFixture<SampleFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("""{}""", "text", "required")]
    [InlineData("""{"text":"a","size":1}""", "size", "not a member")]
    [InlineData("""{"text":"a","styles":{"h1":{"size":1,"color":"red"}}}""", "styles.h1.color", "not a member")]
    [InlineData("""{"text":"a","styles":{"h1":{"size":"big"}}}""", "styles.h1.size", "wrong type")]
    [InlineData("""{"text":"a","styles":{"h1":{"size":99999999999}}}""", "styles.h1.size", "wrong type")]
    [InlineData("""{"text":"a","styles":{"h1":{}}}""", "styles.h1.size", "required")]
    [InlineData("""{"text":"a","tone":"shrill"}""", "tone", "not allowed")]
    [InlineData("""{"text":"a","tone":1}""", "tone", "not allowed")]
    [InlineData("""{"text":null}""", "text", "null")]
    [InlineData("""{"text":"a","text":"b"}""", "text", "twice")]
    [InlineData("""{"text":"a","styles":{"h1":null}}""", "styles", "null element")]
    [InlineData("""{"styles":{"h1":null},"text":"a"}""", "styles", "null element")]
    [InlineData("""{"text":"a\u0000b"}""", "body", "U+0000")]
    [InlineData("""{"text":"a","loudness":1e400}""", "loudness", "beyond the range")]
    [InlineData("""{"text":"a","loudness":"NaN"}""", "loudness", "wrong type")]
    [InlineData("""{"text":"a","loudness":NaN}""", "loudness", "not readable JSON")]
    [InlineData("", "body", "required")]
    [InlineData("""{"text":"a" """, "body", "not readable JSON")]
    [InlineData("""nonsense""", "body", "not readable JSON")]
    public async Task Body_ThatIsWrong_Is400NamingTheField(string body, string field, string reason)
    {
        var (status, problem) = await PostAsync(body);
        Assert.Equal(HttpStatusCode.BadRequest, status);
        var errors = problem.GetProperty("errors");
        Assert.True(errors.TryGetProperty(field, out var reasons), errors.ToString());
        Assert.Contains(reason, reasons[0].GetString());
        Assert.DoesNotContain("DeepSeek.", problem.ToString());
    }

    [Fact]
    public async Task Enum_IsCamelCaseString()
    {
        var (status, _) = await PostAsync("""{"text":"a","tone":"veryLoud"}""");
        Assert.Equal(HttpStatusCode.Created, status);
    }

    [Theory]
    [InlineData("""{"text":"a","anything":""", "{\"a\":", "1", "}", "}")]
    [InlineData("""{"text":"a","anything":""", "[", "", "]", "}")]
    public async Task Body_NestedAThousandDeep_Is400NamingTheDepth(string start, string open, string core, string close, string end)
    {
        var (status, problem) = await PostAsync(
            start + string.Concat(Enumerable.Repeat(open, 1000)) + core + string.Concat(Enumerable.Repeat(close, 1000)) + end);
        Assert.Equal(HttpStatusCode.BadRequest, status);
        var error = Assert.Single(problem.GetProperty("errors").EnumerateObject());
        Assert.StartsWith("anything", error.Name);
        Assert.Contains("deeper than 64", error.Value[0].GetString());
    }

    [Fact]
    public async Task Body_OverTheLimit_Is413()
    {
        // The server refuses by the header alone; a client that waits for its leave never sends the body.
        using var client = new HttpClient(new SocketsHttpHandler { Expect100ContinueTimeout = TimeSpan.FromMinutes(1) })
        {
            BaseAddress = sample.Service.Address,
        }.As(Roles.Operator);
        using var content = new StreamContent(Stream.Null);
        content.Headers.ContentLength = ServiceDefaultsExtensions.DefaultRequestBodyLimit + 1;
        content.Headers.ContentType = new("application/json");
        using var request = new HttpRequestMessage(HttpMethod.Post, "/notes") { Content = content, Headers = { ExpectContinue = true } };
        using var response = await client.SendAsync(request, Token);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
    }

    /// <summary>As a client that reads nothing before all is sent, which is more than any buffer on the way holds.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Body_OverTheLimitAndSentToItsEnd_IsToldSo(bool announced)
    {
        const int chunk = 1 << 20, chunks = 16;
        using var client = new TcpClient();
        await client.ConnectAsync(sample.Service.Address.Host, sample.Service.Address.Port, Token);
        var stream = client.GetStream();
        async Task SendAsync(string text) => await stream.WriteAsync(Encoding.ASCII.GetBytes(text), Token);

        await SendAsync($"POST /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{IdentityTokens.Header}: {TestIdentity.Token(Roles.Reader)}\r\n"
            + (announced ? $"Content-Length: {chunk * chunks}\r\n\r\n" : "Transfer-Encoding: chunked\r\n\r\n"));
        for (var i = 0; i < chunks; i++)
        {
            await SendAsync(announced ? "" : $"{chunk:x}\r\n");
            await stream.WriteAsync(new byte[chunk], Token);
            await SendAsync(announced ? "" : "\r\n");
        }

        await SendAsync(announced ? "" : "0\r\n\r\n");
        var response = await new StreamReader(stream).ReadToEndAsync(Token);

        Assert.StartsWith("HTTP/1.1 413 ", response);
        Assert.Contains("larger than this endpoint accepts", response);
    }

    [Theory]
    [InlineData("GET", "/nothing", 404)]
    [InlineData("DELETE", "/notes", 405)]
    public async Task Address_ThatIsWrong_IsAProblem(string method, string path, int expected)
    {
        using var client = sample.Service.ClientOf(Roles.Operator);
        using var response = await client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path), Token);
        Assert.Equal(expected, (int)response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.Equal(expected, problem.GetProperty("status").GetInt32());
        Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
    }

    [Fact]
    public async Task ContentType_ThatIsNotJson_Is415()
    {
        using var client = sample.Service.ClientOf(Roles.Operator);
        using var response = await client.PostAsync("/notes", new StringContent("<a/>", Encoding.UTF8, "application/xml"), Token);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
    }

    [Fact]
    public async Task ApiProblem_Thrown_BecomesTheResponse()
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        using var response = await client.GetAsync("/refuse", Token);
        Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
        Assert.Equal(TimeSpan.FromSeconds(2), response.Headers.RetryAfter?.Delta); // 1.2 s rounded up: never too early.
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.Equal("Slow down.", problem.GetProperty("detail").GetString());
        Assert.Equal(5, problem.GetProperty("limit").GetInt32());
        Assert.Matches("^[0-9a-f]{32}$", problem.GetProperty("traceId").GetString());
    }

    [Theory]
    [InlineData("/refuse", 429)]
    [InlineData("/nothing", 404)]
    [InlineData("/fault", 500)]
    public async Task Problem_AskedForAsAnEventStream_IsToldAllTheSame(string path, int expected)
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        client.DefaultRequestHeaders.Accept.ParseAdd("text/event-stream");
        using var response = await client.GetAsync(path, Token);
        Assert.Equal(expected, (int)response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.Equal(expected, problem.GetProperty("status").GetInt32());
        Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
        Assert.NotEmpty(problem.GetProperty("traceId").GetString()!);
    }

    [Fact]
    public async Task Fault_OfOurOwn_Is500WithoutItsMessage()
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        using var response = await client.GetAsync("/fault", Token);
        Assert.Equal(HttpStatusCode.InternalServerError, response.StatusCode);
        Assert.DoesNotContain("passwd", await response.Content.ReadAsStringAsync(Token));
    }

    [Theory]
    [InlineData(null, 428)]
    [InlineData("\"2\"", 412)]
    [InlineData("W/\"3\"", 412)]
    [InlineData("nonsense", 412)]
    [InlineData("\"3\"", 200)]
    [InlineData("\"1\", \"3\"", 200)]
    [InlineData("*", 200)]
    public async Task IfMatch_AgainstVersion3(string? ifMatch, int expected)
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        using var request = new HttpRequestMessage(HttpMethod.Put, "/tagged");
        if (ifMatch is not null)
        {
            request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        }

        using var response = await client.SendAsync(request, Token);
        Assert.Equal(expected, (int)response.StatusCode);
    }

    private async Task<(HttpStatusCode, JsonElement)> PostAsync(string body)
    {
        using var client = sample.Service.ClientOf(Roles.Operator);
        using var response = await client.PostAsync("/notes", new StringContent(body, Encoding.UTF8, "application/json"), Token);
        var text = await response.Content.ReadAsStringAsync(Token);
        return (response.StatusCode, text.Length == 0 ? default : JsonSerializer.Deserialize<JsonElement>(text));
    }
}
