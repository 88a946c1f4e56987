using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Gateway.Data;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Gateway.Tests.Keys;

public sealed class KeysTests(GatewayFixture gateway) : IClassFixture<GatewayFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("Authorization", "Bearer ")]
    [InlineData("authorization", "bearer ")]
    [InlineData("X-Api-Key", "")]
    public async Task Key_InEitherHeader_Authenticates(string header, string prefix)
    {
        var (id, key) = await gateway.NewKeyAsync(Roles.Approver, "ada");
        using var client = gateway.Anonymous();
        client.DefaultRequestHeaders.TryAddWithoutValidation(header, prefix + key);
        var me = await client.GetFromJsonAsync<JsonElement>("/api/v1/me", Token);
        Assert.Equal($$"""{"name":"ada","role":"approver","keyId":"{{id}}"}""", me.GetRawText());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("dsk_short")]
    [InlineData("dsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("sk_something_else")]
    public async Task Key_ThatIsNone_Is401Problem(string? key)
    {
        using var client = gateway.Anonymous();
        if (key is not null)
        {
            client.DefaultRequestHeaders.TryAddWithoutValidation("X-Api-Key", key);
        }

        using var response = await client.GetAsync("/api/v1/datasets", Token);
        Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("Bearer", response.Headers.WwwAuthenticate.Single().Scheme);
        Assert.Contains("dsk_", await response.Content.ReadAsStringAsync(Token));
    }

    [Fact]
    public async Task TwoDifferentKeys_InOneRequest_AreRefused()
    {
        using var client = gateway.Admin();
        client.DefaultRequestHeaders.Add("X-Api-Key", (await gateway.NewKeyAsync(Roles.Reader)).Key);
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync("/api/v1/me", Token)).StatusCode);
    }

    [Theory]
    [InlineData(Roles.Reader)]
    [InlineData(Roles.Operator)]
    [InlineData(Roles.Approver)]
    public async Task Keys_ForAnyoneButAdmins_AreForbidden(string role)
    {
        using var client = await gateway.ClientAsync(role);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.GetAsync("/api/v1/keys", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.PostAsJsonAsync("/api/v1/keys", new { name = "x", role = "admin" }, Token)).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.DeleteAsync($"/api/v1/keys/{Guid.NewGuid()}", Token)).StatusCode);
    }

    [Theory]
    [InlineData("""{"name":"x","role":"service"}""", "role")]
    [InlineData("""{"name":"x","role":"Admin"}""", "role")]
    [InlineData("""{"name":"service:registry","role":"admin"}""", "name")]
    [InlineData("""{"name":"","role":"reader"}""", "name")]
    [InlineData("""{"name":"a\nb","role":"reader"}""", "name")]
    [InlineData("""{"name":"x"}""", "role")]
    [InlineData("""{"name":"x","role":"reader","extra":1}""", "extra")]
    public async Task NewKey_ThatIsNotAllowed_Is400NamingTheField(string body, string field)
    {
        using var admin = gateway.Admin();
        using var response = await admin.PostAsync("/api/v1/keys", new StringContent(body, Encoding.UTF8, "application/json"), Token);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>(Token);
        Assert.True(problem.GetProperty("errors").TryGetProperty(field, out _), problem.ToString());
    }

    [Fact]
    public async Task Body_NestedAThousandDeep_Is400AndTheGatewayStaysUp()
    {
        using var admin = gateway.Admin();
        var deep = """{"name":"x","role":""" + new string('[', 1000) + new string(']', 1000) + "}";
        using var response = await admin.PostAsync("/api/v1/keys", new StringContent(deep, Encoding.UTF8, "application/json"), Token);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("\"role\"", await response.Content.ReadAsStringAsync(Token));
        Assert.Equal(HttpStatusCode.OK, (await admin.GetAsync("/api/v1/me", Token)).StatusCode);
    }

    [Fact]
    public async Task Secret_IsShownOnceAndStoredAsAHash()
    {
        var (id, key) = await gateway.NewKeyAsync(Roles.Reader, "shown-once");
        using var admin = gateway.Admin();
        var list = await admin.GetStringAsync("/api/v1/keys?limit=200", Token);
        Assert.Contains(id.ToString(), list);
        Assert.DoesNotContain(key, list);
        Assert.DoesNotContain("hash", list, StringComparison.OrdinalIgnoreCase);
        var dump = await gateway.Database.ScalarAsync<string>("select string_agg(k::text, ' ') || (select coalesce(string_agg(o::text, ' '), '') from outbox_messages o) from api_keys k");
        Assert.DoesNotContain(key[4..], dump);
    }

    [Fact]
    public async Task Key_Revoked_StopsWorkingOnEveryReplicaWithItsNextLook()
    {
        // Two seconds from a revocation to its last effect: the keys are read every second, and reading them takes no second.
        Assert.True(new GatewayOptions().KeyRefresh <= TimeSpan.FromSeconds(1));
        await using var replica = new Replica(gateway);
        var (id, key) = await gateway.NewKeyAsync(Roles.Operator);
        using var there = replica.With(key);
        await Eventually.True(async () => (await there.GetAsync("/api/v1/me", Token)).StatusCode == HttpStatusCode.OK);
        using var here = gateway.With(key);
        using var admin = gateway.Admin();
        Assert.Equal(HttpStatusCode.NoContent, (await admin.DeleteAsync($"/api/v1/keys/{id}", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await here.GetAsync("/api/v1/me", Token)).StatusCode);
        await Eventually.True(async () => (await there.GetAsync("/api/v1/me", Token)).StatusCode == HttpStatusCode.Unauthorized);
        var revoked = (await admin.GetFromJsonAsync<JsonElement>("/api/v1/keys?limit=200", Token)).GetProperty("items").EnumerateArray()
            .Single(item => item.GetProperty("id").GetGuid() == id);
        Assert.Equal("admin", revoked.GetProperty("revokedBy").GetString());
    }

    [Fact]
    public async Task Key_ThatDoesNotExist_CannotBeRevoked()
    {
        using var admin = gateway.Admin();
        Assert.Equal(HttpStatusCode.NotFound, (await admin.DeleteAsync($"/api/v1/keys/{Guid.NewGuid()}", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await admin.DeleteAsync("/api/v1/keys/not-an-id", Token)).StatusCode);
    }

    [Fact]
    public async Task KeyChanges_ReachTheAuditLog()
    {
        await using var bus = await gateway.BusAsync();
        await bus.ListenAsync<AuditRecorded>();
        var (id, _) = await gateway.NewKeyAsync(Roles.Reader, "audited");
        using var admin = gateway.Admin();
        await admin.DeleteAsync($"/api/v1/keys/{id}", Token);
        var created = await bus.ReceiveAsync<AuditRecorded>(entry => entry.Action == "key.created" && entry.Subject == $"keys/{id}");
        Assert.Equal(("admin", """{"name":"audited","role":"reader"}"""), (created.Actor, created.Details));
        await bus.ReceiveAsync<AuditRecorded>(entry => entry.Action == "key.revoked" && entry.Subject == $"keys/{id}");
    }

    [Fact]
    public async Task Schema_OfTheScripts_IsTheModels()
    {
        gateway.Start();
        await SchemaAssert.MatchesModel<GatewayDb>(gateway.Services);
    }
}
