using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using DeepSeek.Training.Tests.Platform;

namespace DeepSeek.Training.Tests;

public sealed class RunsApiTests(TrainingPlatform platform) : IClassFixture<TrainingPlatform>
{
    [Theory]
    [InlineData("""{"specVersion":2}""", "specVersion")]
    [InlineData("""{"epochs":0}""", "epochs")]
    [InlineData("""{"batchSize":-5}""", "batchSize")]
    [InlineData("""{"batchSize":99999999999999}""", "batchSize")]
    [InlineData("""{"modelName":"../etc"}""", "modelName")]
    [InlineData("""{"modelName":"line\n"}""", "modelName")]
    [InlineData("""{"optimizer":{"learningRate":0}}""", "optimizer.learningRate")]
    [InlineData("""{"optimizer":{"learningRate":"NaN"}}""", "optimizer.learningRate")]
    [InlineData("""{"priority":101}""", "priority")]
    [InlineData("""{"device":"tpu"}""", "device")]
    [InlineData("""{"precision":"fp8"}""", "precision")]
    [InlineData("""{"device":"cpu","capture":"on"}""", "capture")]
    [InlineData("""{"checkpointing":"sometimes"}""", "checkpointing")]
    [InlineData("""{"model":{"family":"tabularMlp","depth":3}}""", "model.depth")]
    [InlineData("""{"model":{"family":"convNet"}}""", "model.family")]
    [InlineData("""{"classWeights":{"middle":2}}""", "classWeights.middle")]
    public async Task Post_BadSpec_Is400ThatNamesTheField(string change, string field)
    {
        using var response = await PostAsync(Changed(change));

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Contains(problem.GetProperty("errors").EnumerateObject(),
            error => error.Name == field || error.Value.EnumerateArray().Any(text => text.GetString()!.Contains(field)));
    }

    [Theory]
    [InlineData("", "body")]
    [InlineData("null", "body")]
    [InlineData("[]", "body")]
    [InlineData("{}", "modelName")]
    [InlineData("{\"specVersion\":1", "specVersion")]
    [InlineData("{\"specVersion\":1,\"epochs\":\"many\"}", "epochs")]
    public async Task Post_NoSpec_Is400ThatNamesWhatIsMissing(string body, string field)
    {
        using var response = await PostAsync(body);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Contains(problem.GetProperty("errors").EnumerateObject(), error => error.Name == field);
        Assert.DoesNotContain("DeepSeek.", problem.GetRawText());
        Assert.DoesNotContain("System.", problem.GetRawText());
    }

    [Fact]
    public async Task Post_ThousandLevels_Is400()
    {
        using var response = await PostAsync(string.Concat(Enumerable.Repeat("{\"model\":", 1000)) + "1" + new string('}', 1000));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Post_TwoMegabytes_Is413()
    {
        using var response = await PostAsync($$"""{"name":"{{new string('x', 2 << 20)}}"}""");
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
    }

    [Fact]
    public async Task Post_NotJson_Is415()
    {
        using var response = await platform.Runs.PostAsync("/api/v1/runs", new StringContent("epochs: 3", Encoding.UTF8, "application/yaml"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, response.StatusCode);
    }

    [Fact]
    public async Task Post_RepeatedUnderOneKey_MakesOneRun()
    {
        using var client = platform.Training.ClientOf(Roles.Operator, "ada");
        client.DefaultRequestHeaders.Add("Idempotency-Key", Guid.NewGuid().ToString());
        var spec = platform.Spec(epochs: 1, modelName: "repeated");

        // At the same time, and later.
        var runs = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => platform.StartAsync(spec, client)));
        var later = await platform.StartAsync(spec, client);
        var others = new[] { await platform.StartAsync(spec), await platform.StartAsync(spec) };

        Assert.Equal([(later.Id, later.JobId)], runs.Select(run => (run.Id, run.JobId)).Distinct());
        Assert.Equal(3, others.Append(later).Select(run => run.Id).Distinct().Count());
        var stored = await platform.Runs.GetFromJsonAsync<JsonElement>("/api/v1/runs?model=repeated");
        Assert.Equal(3, stored.GetProperty("items").GetArrayLength());
    }

    [Fact]
    public async Task Post_AsReader_IsForbidden()
    {
        using var response = await platform.Training.ClientOf(Roles.Reader).PostAsJsonAsync("/api/v1/runs", platform.Spec());
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
    }

    [Fact]
    public async Task Post_UnknownDataset_Is400ThatNamesIt()
    {
        var id = Guid.NewGuid();
        using var response = await platform.Runs.PostAsJsonAsync("/api/v1/runs", platform.Spec(dataset: id));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"There is no dataset '{id}'.", await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("running", "wait until its job has succeeded")]
    [InlineData("failed", "upload it again")]
    public async Task Post_DatasetNotReady_Is409WithTheRemedy(string state, string remedy)
    {
        using var response = await platform.Runs.PostAsJsonAsync("/api/v1/runs", platform.Spec(dataset: platform.Datasets.AddUnready(state)));
        Assert.Equal(HttpStatusCode.Conflict, response.StatusCode);
        Assert.Contains(remedy, await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("")]
    [InlineData("/metrics")]
    public async Task Get_UnknownRun_Is404ThatNamesIt(string part)
    {
        var id = Guid.NewGuid();
        using var response = await platform.Runs.GetAsync($"/api/v1/runs/{id}{part}");
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Contains(id.ToString(), await response.Content.ReadAsStringAsync());
    }

    private string Changed(string change)
    {
        var spec = JsonSerializer.SerializeToNode(platform.Spec())!.AsObject();
        foreach (var (name, value) in JsonSerializer.Deserialize<Dictionary<string, System.Text.Json.Nodes.JsonNode>>(change)!)
        {
            spec[name] = value;
        }
        return spec.ToJsonString();
    }

    private Task<HttpResponseMessage> PostAsync(string body) =>
        platform.Runs.PostAsync("/api/v1/runs", new StringContent(body, Encoding.UTF8, "application/json"));
}
