using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Tests.Sample;

namespace DeepSeek.ServiceDefaults.Tests.Identity;

public sealed class AuthorizationTests(SampleFixture sample) : IClassFixture<SampleFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("/health")]
    [InlineData("/alive")]
    [InlineData("/openapi/v1.json")]
    public async Task OpenPath_WithoutIdentity_Answers(string path)
    {
        using var client = sample.Service.Anonymous();
        await Eventually.True(async () => (await client.GetAsync(path, Token)).StatusCode == HttpStatusCode.OK);
    }

    [Theory]
    [InlineData("/notes")]
    [InlineData("/whoami")]
    [InlineData("/no/such/place")]
    public async Task AnyOtherPath_WithoutIdentity_Is401Problem(string path)
    {
        using var client = sample.Service.Anonymous();
        using var response = await client.GetAsync(path, Token);
        Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
    }

    [Theory]
    [InlineData(Roles.Reader, HttpStatusCode.Forbidden)]
    [InlineData(Roles.Approver, HttpStatusCode.Forbidden)]
    [InlineData(Roles.Operator, HttpStatusCode.Created)]
    [InlineData(Roles.Admin, HttpStatusCode.Created)]
    public async Task OperatorPath_ByRole(string role, HttpStatusCode expected)
    {
        using var client = sample.Service.ClientOf(role);
        using var response = await client.PostAsJsonAsync("/notes", new { text = "x" }, Token);
        Assert.Equal(expected, response.StatusCode);
        if (expected == HttpStatusCode.Forbidden)
        {
            var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
            Assert.Contains("role", problem.GetProperty("detail").GetString());
        }
    }

    [Fact]
    public async Task InternalPath_EvenForAdmin_IsForbidden()
    {
        using var admin = sample.Service.ClientOf(Roles.Admin);
        Assert.Equal(HttpStatusCode.Forbidden, (await admin.GetAsync("/internal", Token)).StatusCode);
        using var service = sample.Service.ClientOf(Roles.Service, "service:training");
        Assert.Equal(HttpStatusCode.OK, (await service.GetAsync("/internal", Token)).StatusCode);
    }

    [Fact]
    public async Task Identity_Forged_Is401()
    {
        using var client = sample.Service.Anonymous();
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, TestIdentity.Token(Roles.Admin)[..^4] + "AAAA");
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync("/whoami", Token)).StatusCode);
    }

    [Fact]
    public async Task Identity_SentTwice_Is401()
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, TestIdentity.Token(Roles.Admin));
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync("/whoami", Token)).StatusCode);
    }

    [Fact]
    public async Task Actor_OfAPerson_IsItsName()
    {
        using var client = sample.Service.ClientOf(Roles.Reader, "ada");
        Assert.Equal("ada", await client.GetStringAsync("/whoami", Token));
    }

    [Fact]
    public async Task Actor_OfAServiceActingForAPerson_IsThePerson()
    {
        using var client = sample.Service.Anonymous();
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, TestIdentity.Tokens.Mint(
            new PlatformIdentity { Sub = "service:training", Name = "service:training", Role = Roles.Service, OnBehalfOf = "ada" },
            IdentityTokens.ServiceLife));
        Assert.Equal("ada", await client.GetStringAsync("/whoami", Token));
    }

    [Fact]
    public async Task OnBehalfOf_InAPersonsToken_IsIgnored()
    {
        using var client = sample.Service.Anonymous();
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, TestIdentity.Tokens.Mint(
            new PlatformIdentity { Sub = "eve", Name = "eve", Role = Roles.Reader, OnBehalfOf = "ada" }, IdentityTokens.RequestLife));
        Assert.Equal("eve", await client.GetStringAsync("/whoami", Token));
    }
}
