using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts;

namespace DeepSeek.Gateway.Tests.OpenApi;

public sealed class MergedOpenApiTests : IAsyncLifetime
{
    private readonly GatewayFixture _gateway = new();
    private readonly Upstream _training = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _gateway.Upstream.OpenApi = Document("/api/v1/models", "string");
        _training.OpenApi = Document("/api/v1/runs", "integer");
        await _training.ListenAsync();
        await _gateway.InitializeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _gateway.DisposeAsync();
        await _training.DisposeAsync();
    }

    [Fact]
    public async Task Document_HoldsTheServicesRoutesAndNamesTheOneThatIsDown()
    {
        await using var gateway = new Replica(_gateway).WithPeer(ResourceNames.Training, _training.Address)
            .WithPeer(ResourceNames.Registry, _gateway.Upstream.Address).WithPeer(ResourceNames.Explainability, new Uri("http://127.0.0.1:9"));
        using var client = gateway.Anonymous();
        var document = await client.GetFromJsonAsync<JsonElement>("/openapi/v1.json", Token);
        var paths = document.GetProperty("paths");
        Assert.Equal(["/api/v1/keys", "/api/v1/keys/{id}", "/api/v1/me", "/api/v1/models", "/api/v1/runs"],
            paths.EnumerateObject().Select(path => path.Name).Order());
        Assert.Equal("registry", paths.GetProperty("/api/v1/models").GetProperty("get").GetProperty("tags")[0].GetString());
        Assert.Contains("explainability", document.GetProperty("x-unavailable").EnumerateArray().Select(service => service.GetString()));
        Assert.Contains("explainability", document.GetProperty("info").GetProperty("description").GetString());
    }

    [Fact]
    public async Task SchemasOfOneName_KeepTheirMeaningPerService()
    {
        await using var gateway = new Replica(_gateway).WithPeer(ResourceNames.Training, _training.Address)
            .WithPeer(ResourceNames.Registry, _gateway.Upstream.Address);
        using var client = gateway.Anonymous();
        var document = await client.GetFromJsonAsync<JsonElement>("/openapi/v1.json", Token);
        Assert.Equal("string", TypeOfId(document, "/api/v1/models"));
        Assert.Equal("integer", TypeOfId(document, "/api/v1/runs"));
        var names = document.GetProperty("components").GetProperty("schemas").EnumerateObject().Select(schema => schema.Name).ToList();
        Assert.Single(names, name => name.EndsWith("Same")); // Equal ones are one.
    }

    /// <summary>Follows page → item → id through the references.</summary>
    private static string? TypeOfId(JsonElement document, string path)
    {
        var page = Resolve(document, document.GetProperty("paths").GetProperty(path).GetProperty("get").GetProperty("responses")
            .GetProperty("200").GetProperty("content").GetProperty("application/json").GetProperty("schema"));
        var item = Resolve(document, page.GetProperty("properties").GetProperty("item"));
        return item.GetProperty("properties").GetProperty("id").GetProperty("type").GetString();
    }

    private static JsonElement Resolve(JsonElement document, JsonElement reference) =>
        document.GetProperty("components").GetProperty("schemas").GetProperty(reference.GetProperty("$ref").GetString()!.Split('/')[^1]);

    private static string Document(string path, string idType) => $$"""
        {
          "openapi": "3.1.1", "info": { "title": "t", "version": "v1" },
          "paths": {
            "{{path}}": { "get": { "operationId": "List", "responses": { "200": { "description": "OK",
              "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Page" } } } } } } },
            "/internal": { "get": { "responses": { "200": { "description": "OK" } } } }
          },
          "components": { "schemas": {
            "Page": { "type": "object", "properties": { "item": { "$ref": "#/components/schemas/Item" } } },
            "Item": { "type": "object", "properties": { "id": { "type": "{{idType}}" } } },
            "Same": { "type": "string" }
          } }
        }
        """;
}
