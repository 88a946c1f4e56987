using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Inference;
using DeepSeek.Contracts.Registry;
using DeepSeek.Inference.Data;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Inference.Tests.Deployments;

public sealed class DeploymentTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const string Row = """{"rows": [{"x": 1}]}""";

    [Fact]
    public async Task Put_OfARegisteredModel_ServesItAndTellsTheWorld()
    {
        await service.Bus.ListenAsync<DeploymentChanged>();
        await service.Bus.ListenAsync<AuditRecorded>();
        service.Registry.Add("put-model", Models.Regressor(3));

        using var response = await service.PutAsync("put", "put-model", "1", new { maxBatch = 8, maxDelayMs = 2, maxQueue = 16 });
        var document = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("\"1\"", response.Headers.ETag?.Tag);
        Assert.Equal("""[{"version":1,"state":"ready","error":null,"attention":null}]""", document.GetProperty("versions").GetRawText());
        Assert.Equal(8, document.GetProperty("maxBatch").GetInt32());
        Assert.Single(document.GetProperty("replicas").EnumerateArray());
        Assert.Equal(("ready", 1), (document.GetProperty("state").GetString(), document.GetProperty("targetVersion").GetInt32()));
        Assert.Equal(3, await PredictAsync("put"));
        await service.Bus.ReceiveAsync<DeploymentChanged>(m => m.Name == "put");
        var audit = await service.Bus.ReceiveAsync<AuditRecorded>(m => m.Subject == "deployment/put");
        Assert.Equal(("deployment.created", "tester"), (audit.Action, audit.Actor));
        Assert.Contains("put", (await (await service.Http.GetAsync("/api/v1/deployments")).JsonAsync()).GetProperty("items")
            .EnumerateArray().Select(d => d.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Put_OfOtherLimits_TakesThemOver()
    {
        var name = await service.DeployAsync(Models.Regressor(1), new { maxBatch = 4 });

        await (await service.PutAsync(name, name, "@production", new { maxBatch = 32 })).JsonAsync();

        Assert.Equal(32, (await (await service.Http.GetAsync($"/v2/models/{name}/config")).JsonAsync()).GetProperty("max_batch_size").GetInt32());
    }

    [Fact]
    public async Task Put_WithAStaleETag_Is412()
    {
        var name = await service.DeployAsync(Models.Regressor(1));
        using var request = new HttpRequestMessage(HttpMethod.Put, $"/api/v1/deployments/{name}")
        {
            Content = JsonContent.Create(new { model = name, @ref = "1" }),
            Headers = { IfMatch = { new("\"7\"") } },
        };

        await (await service.Http.SendAsync(request)).ProblemAsync(412);
    }

    [Theory]
    [InlineData("bad name", "{\"model\": \"m\", \"ref\": \"1\"}", "name")]
    [InlineData("x", "{\"model\": \"nobody\", \"ref\": \"1\"}", "ref")]
    [InlineData("x", "{\"model\": \"\", \"ref\": \"1\"}", "model")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"@\"}", "ref")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"1\", \"maxBatch\": -1}", "maxBatch")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"1\", \"maxBatch\": 99999999999}", "maxBatch")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"1\", \"maxQueue\": 0}", "maxQueue")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"1\", \"maxDelayMs\": 1001}", "maxDelayMs")]
    [InlineData("x", "{\"model\": \"m\"}", "ref")]
    [InlineData("x", "{\"model\": \"m\", \"ref\": \"1\", \"replicas\": 3}", "replicas")]
    public async Task Put_OfWhatCannotBe_Is400NamingTheField(string name, string body, string field)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");

        var problem = await (await service.Http.PutAsync($"/api/v1/deployments/{Uri.EscapeDataString(name)}", content)).ProblemAsync(400);

        Assert.True(problem.GetProperty("errors").TryGetProperty(field, out _), problem.ToString());
    }

    [Fact]
    public async Task Put_AsReader_IsForbidden()
    {
        using var reader = service.ClientOf(Roles.Reader);

        Assert.Equal(HttpStatusCode.Forbidden, (await reader.PutAsJsonAsync("/api/v1/deployments/x", new { model = "m", @ref = "1" })).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await reader.DeleteAsync("/api/v1/deployments/x")).StatusCode);
    }

    [Fact]
    public async Task Put_OfAFileThatIsNoModel_Is202WithTheReason_AndTheOldVersionGoesOn()
    {
        var name = await service.DeployAsync(Models.Regressor(5));
        service.Registry.Add(name, "not a model"u8.ToArray());

        using var response = await service.PutAsync(name, name, "2");
        var document = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        Assert.Equal(["ready", "failed"], document.GetProperty("versions").EnumerateArray().Select(v => v.GetProperty("state").GetString()));
        Assert.Contains("not an ONNX model", document.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(5, await PredictAsync(name));
    }

    [Fact]
    public async Task Infer_OnADeploymentThatFailed_Is503WithTheReason()
    {
        service.Registry.Add("broken", "not a model"u8.ToArray());
        using var response = await service.PutAsync("broken", "broken", "1");
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);

        Assert.Contains("not an ONNX model", await (await service.InferAsync("broken", "{}")).ErrorAsync(503), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Http.GetAsync("/v2/models/broken/ready")).StatusCode);
    }

    [Fact]
    public async Task Alias_ThatMoves_TakesTheTrafficAlong()
    {
        var name = await service.DeployAsync(Models.Regressor(1));
        service.Registry.Add(name, Models.Regressor(2));

        await service.MoveAliasAsync(name, "production", 2);

        await Eventually.True(async () => await PredictAsync(name) == 2);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Http.GetAsync($"/v2/models/{name}/versions/1")).StatusCode);
    }

    [Fact]
    public async Task Alias_ThatIsRemoved_LeavesTheVersionServed()
    {
        var name = await service.DeployAsync(Models.Regressor(1));
        service.Registry.RemoveAlias(name, "production");

        await service.Bus.PublishAsync(new AliasMoved
        {
            ModelName = name, Alias = "production", Version = null, VersionId = null, PreviousVersion = 1, Actor = "tester", At = DateTimeOffset.UtcNow,
        });

        await Eventually.True(async () => (await (await service.Http.GetAsync($"/api/v1/deployments/{name}")).JsonAsync())
            .GetProperty("error").GetString()?.Contains("no alias", StringComparison.Ordinal) == true);
        Assert.Equal(1, await PredictAsync(name));
    }

    [Fact]
    public async Task Version_ThatIsDeleted_IsServedNoMore()
    {
        service.Registry.Add("deleted", Models.Regressor(1));
        await (await service.PutAsync("deleted", "deleted", "1")).JsonAsync();
        service.Registry.Delete("deleted", 1);

        await service.Bus.PublishAsync(new ModelVersionDeleted
        {
            ModelName = "deleted", Version = 1, VersionId = Guid.Empty, Actor = "tester", At = DateTimeOffset.UtcNow,
        });

        await Eventually.True(async () => (await service.PredictAsync("deleted", Row)).StatusCode == HttpStatusCode.ServiceUnavailable);
        Assert.Equal("failed", (await (await service.Http.GetAsync("/api/v1/deployments/deleted")).JsonAsync()).GetProperty("state").GetString());
    }

    [Fact]
    public async Task Delete_EndsIt_AndItsNameCanBeUsedAgain()
    {
        var name = await service.DeployAsync(Models.Regressor(1));

        Assert.Equal(HttpStatusCode.NoContent, (await service.Http.DeleteAsync($"/api/v1/deployments/{name}")).StatusCode);
        await (await service.PredictAsync(name, Row)).ProblemAsync(404);
        await (await service.Http.DeleteAsync($"/api/v1/deployments/{name}")).ProblemAsync(404);
        await (await service.PutAsync(name, name, "1")).JsonAsync();
        Assert.Equal(1, await PredictAsync(name));
    }

    [Fact]
    public async Task Schema_OfTheScripts_IsTheModels() => await SchemaAssert.MatchesModel<InferenceDb>(service.Services);

    [Fact]
    public async Task Health_IsGood_WithoutIdentity()
    {
        using var anonymous = service.Anonymous();

        await Eventually.True(async () => (await anonymous.GetAsync("/health")).StatusCode == HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.OK, (await anonymous.GetAsync("/alive")).StatusCode);
        var openApi = await (await anonymous.GetAsync("/openapi/v1.json")).JsonAsync();
        Assert.True(openApi.GetProperty("paths").TryGetProperty("/v2/models/{model}/infer", out _));
    }

    private async Task<float> PredictAsync(string name) =>
        (await (await service.PredictAsync(name, Row)).JsonAsync()).GetProperty("predictions")[0].GetProperty("prediction").GetSingle();
}
