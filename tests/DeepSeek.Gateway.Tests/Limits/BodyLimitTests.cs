using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace DeepSeek.Gateway.Tests.Limits;

public sealed class BodyLimitTests(BodyLimitTests.Fixture gateway) : IClassFixture<BodyLimitTests.Fixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("POST", "/api/v1/runs/x", Fixture.Body, HttpStatusCode.OK)]
    [InlineData("POST", "/api/v1/runs/x", Fixture.Body + 1, HttpStatusCode.RequestEntityTooLarge)]
    [InlineData("POST", "/api/v1/datasets/x", Fixture.Body + 1, HttpStatusCode.RequestEntityTooLarge)]
    [InlineData("POST", "/api/v1/datasets", Fixture.Upload, HttpStatusCode.OK)]
    [InlineData("POST", "/api/v1/datasets", Fixture.Upload + 1, HttpStatusCode.RequestEntityTooLarge)]
    [InlineData("PUT", "/api/v1/blobs/00", Fixture.Upload, HttpStatusCode.OK)]
    [InlineData("PUT", "/api/v1/blobs/00", Fixture.Upload + 1, HttpStatusCode.RequestEntityTooLarge)]
    public async Task Body_ByLength(string method, string path, int bytes, HttpStatusCode expected)
    {
        using var client = gateway.Admin();
        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = new ByteArrayContent(new byte[bytes]) };
        using var response = await client.SendAsync(request, Token);
        Assert.Equal(expected, response.StatusCode);
        if (expected == HttpStatusCode.OK)
        {
            Assert.Equal(bytes, gateway.Upstream.Seen.Last(seen => seen.Target == path).Bytes);
        }
        else
        {
            Assert.Contains($"accepts {(path.EndsWith('x') ? Fixture.Body : Fixture.Upload)}", await response.Content.ReadAsStringAsync(Token));
        }
    }

    [Fact]
    public async Task Body_WithoutLength_IsCountedOnItsWay()
    {
        using var client = gateway.Admin();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/runs/x") { Content = new Endless() };
        using var response = await client.SendAsync(request, Token);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
    }

    public sealed class Fixture : GatewayFixture
    {
        public const int Body = 4096;
        public const int Upload = 1 << 20;

        public Fixture() => With("Gateway:BodyLimit", $"{Body}").With("Gateway:UploadLimit", $"{Upload}");
    }

    /// <summary>Chunks until the server answers.</summary>
    private sealed class Endless : HttpContent
    {
        public Endless() => Headers.ContentType = new MediaTypeHeaderValue("application/json");

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            var chunk = Encoding.UTF8.GetBytes(new string(' ', 1024));
            for (var i = 0; i < 64; i++)
            {
                await stream.WriteAsync(chunk, Token);
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
