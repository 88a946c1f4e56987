using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

public sealed class SchemaTests(RegistryFixture registry) : IClassFixture<RegistryFixture>
{
    [Fact]
    public Task Scripts_AppliedToAnEmptyDatabase_MatchTheModel()
    {
        registry.Start();
        return SchemaAssert.MatchesModel<RegistryDb>(registry.Services);
    }

    [Fact]
    public async Task OpenApi_Document_NamesEveryOperationOnce()
    {
        using var json = System.Text.Json.JsonDocument.Parse(await registry.Anonymous().GetStringAsync("/openapi/v1.json"));

        var ids = json.RootElement.GetProperty("paths").EnumerateObject().SelectMany(p => p.Value.EnumerateObject())
            .Select(o => o.Value.GetProperty("operationId").GetString()!).ToList();
        Assert.Equal(ids.Distinct().Count(), ids.Count);
        Assert.Contains("PutBlob", ids);
        Assert.Contains("GetAliasHistory", ids);
    }
}
