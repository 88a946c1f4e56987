using System.Net;
using System.Text;
using System.Text.Json;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.Tests.OpenInference;

/// <summary>The Open Inference Protocol v2 over HTTP, and the places where its readers disagree.</summary>
public sealed class ConformanceTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    [Theory]
    [InlineData("/v2")]
    [InlineData("/v2/")]
    public async Task ServerMetadata_NamesServerAndExtensions(string path)
    {
        var server = await (await service.Http.GetAsync(path)).JsonAsync();

        Assert.Equal("deepseek-inference", server.GetProperty("name").GetString());
        Assert.False(string.IsNullOrEmpty(server.GetProperty("version").GetString()));
        Assert.Contains("binary_tensor_data", server.GetProperty("extensions").EnumerateArray().Select(e => e.GetString()));
    }

    [Theory]
    [InlineData("/v2/health/live", "live")]
    [InlineData("/v2/health/live?test_1=1&test_2=2", "live")]
    [InlineData("/v2/health/ready", "ready")]
    [InlineData("/v2/health/ready?test_1=1&test_2=2", "ready")]
    public async Task Health_AnswersJson_AndIgnoresUnknownQueries(string path, string member)
    {
        await DeepSeek.Testing.Eventually.True(async () => (await service.Http.GetAsync(path)).StatusCode == HttpStatusCode.OK);

        using var response = await service.Http.GetAsync(path);

        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.True((await response.JsonAsync()).GetProperty(member).GetBoolean());
    }

    [Fact]
    public async Task ModelMetadata_TellsTensorsAndVersions_WithAndWithoutVersion()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        foreach (var path in new[] { $"/v2/models/{name}", $"/v2/models/{name}/versions/1?x=1" })
        {
            var model = await (await service.Http.GetAsync(path)).JsonAsync();
            Assert.Equal(name, model.GetProperty("name").GetString());
            Assert.Equal("1", Assert.Single(model.GetProperty("versions").EnumerateArray()).GetString());
            Assert.Equal("onnxruntime_onnx", model.GetProperty("platform").GetString());
            Assert.Equal(
                """[{"name":"a","datatype":"FP32","shape":[-1,4]},{"name":"b","datatype":"FP32","shape":[-1,4]}]""",
                model.GetProperty("inputs").GetRawText());
            Assert.Equal(
                """[{"name":"sum","datatype":"FP32","shape":[-1,4]},{"name":"difference","datatype":"FP32","shape":[-1,4]}]""",
                model.GetProperty("outputs").GetRawText());
        }
    }

    [Fact]
    public async Task ModelReady_IsTrueForWhatIsLoaded_AndFalseOrUnknownOtherwise()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        var ready = await (await service.Http.GetAsync($"/v2/models/{name}/ready")).JsonAsync();
        Assert.Equal(name, ready.GetProperty("name").GetString());
        Assert.True(ready.GetProperty("ready").GetBoolean());
        Assert.True((await (await service.Http.GetAsync($"/v2/models/{name}/versions/1/ready")).JsonAsync()).GetProperty("ready").GetBoolean());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Http.GetAsync($"/v2/models/{name}/versions/2/ready")).StatusCode);
        await (await service.Http.GetAsync("/v2/models/nobody/ready")).ErrorAsync(404);
    }

    [Fact]
    public async Task Infer_FlatAndNested_GiveTheSameReply()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        const string flat = "[1, 2, 3, 4, 5, 6, 7, 8]";
        const string nested = "[[1, 2, 3, 4], [5, 6, 7, 8]]";

        foreach (var data in new[] { flat, nested })
        {
            var reply = await (await service.InferAsync(name, $$"""
                {"id": "42", "inputs": [
                  {"name": "a", "shape": [2, 4], "datatype": "FP32", "data": {{data}}},
                  {"name": "b", "shape": [2, 4], "datatype": "FP32", "data": [1, 1, 1, 1, 1, 1, 1, 1]}]}
                """)).JsonAsync();

            Assert.Equal(name, reply.GetProperty("model_name").GetString());
            Assert.Equal("1", reply.GetProperty("model_version").GetString());
            Assert.Equal("42", reply.GetProperty("id").GetString());
            Assert.Equal(
                """[{"name":"sum","datatype":"FP32","shape":[2,4],"data":[2,3,4,5,6,7,8,9]},{"name":"difference","datatype":"FP32","shape":[2,4],"data":[0,1,2,3,4,5,6,7]}]""",
                reply.GetProperty("outputs").GetRawText());
        }
    }

    [Fact]
    public async Task Infer_OfSomeOutputs_GivesThoseInTheirOrder()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        var one = await (await service.InferAsync(name, AddSubtract("""[{"name": "difference"}]"""))).JsonAsync();
        var both = await (await service.InferAsync(name, AddSubtract("""[{"name": "difference"}, {"name": "sum"}]"""))).JsonAsync();
        var all = await (await service.InferAsync(name, AddSubtract("[]"))).JsonAsync();

        Assert.Equal(["difference"], Names(one));
        Assert.Equal(["difference", "sum"], Names(both));
        Assert.Equal(["sum", "difference"], Names(all));
        static IEnumerable<string?> Names(JsonElement reply) => reply.GetProperty("outputs").EnumerateArray().Select(o => o.GetProperty("name").GetString());
    }

    [Fact]
    public async Task Infer_WithoutId_AnswersWithoutOne_ButWithAPredictionId()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        using var response = await service.InferAsync(name, AddSubtract("[]"));
        var reply = await response.JsonAsync();

        Assert.False(reply.TryGetProperty("id", out _));
        Assert.Equal(
            response.Headers.GetValues("X-Prediction-Id").Single(),
            reply.GetProperty("parameters").GetProperty("prediction_id").GetString());
    }

    [Theory]
    [InlineData(OnnxType.Bool, "BOOL", "[true,false]")]
    [InlineData(OnnxType.UInt8, "UINT8", "[0,255]")]
    [InlineData(OnnxType.Int8, "INT8", "[-128,127]")]
    [InlineData(OnnxType.UInt16, "UINT16", "[0,65535]")]
    [InlineData(OnnxType.Int16, "INT16", "[-32768,32767]")]
    [InlineData(OnnxType.UInt32, "UINT32", "[0,4294967295]")]
    [InlineData(OnnxType.Int32, "INT32", "[-2147483648,2147483647]")]
    [InlineData(OnnxType.UInt64, "UINT64", "[0,18446744073709551615]")]
    [InlineData(OnnxType.Int64, "INT64", "[-9223372036854775808,9223372036854775807]")]
    [InlineData(OnnxType.Float16, "FP16", "[0.5,-65504]")]
    [InlineData(OnnxType.BFloat16, "BF16", "[0.5,-2]")]
    [InlineData(OnnxType.Float, "FP32", "[0.1,-3.4028235E+38]")]
    [InlineData(OnnxType.Double, "FP64", "[0.1,1.7976931348623157E+308]")]
    [InlineData(OnnxType.Float, "FP32", """["NaN","-Infinity"]""")]
    [InlineData(OnnxType.Double, "FP64", """["NaN","Infinity"]""")]
    [InlineData(OnnxType.String, "BYTES", """["h\u00E9","\u0000 \u0022"]""")]
    public async Task Infer_OfEachDatatype_ReturnsWhatWasSent(OnnxType type, string datatype, string data)
    {
        var name = await service.DeployAsync(Models.Identity(type, "N"));

        var reply = await (await service.InferAsync(
            name, $$"""{"inputs": [{"name": "x", "shape": [2], "datatype": "{{datatype}}", "data": {{data}}}]}""")).JsonAsync();

        var output = reply.GetProperty("outputs")[0];
        Assert.Equal(datatype, output.GetProperty("datatype").GetString());
        Assert.Equal(data, output.GetProperty("data").GetRawText());
    }

    [Theory]
    [InlineData("""{"inputs": [{"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}]}""", "Input 'b' is missing")]
    [InlineData("""{"inputs": [{"name": "c", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}]}""", "no input 'c'")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [1, 4], "datatype": "FP64", "data": [1,2,3,4]}, {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}]}""", "the model takes FP32")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [1, 3], "datatype": "FP32", "data": [1,2,3]}, {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}]}""", "the model takes [-1,4]")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [4], "datatype": "FP32", "data": [1,2,3,4]}, {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}]}""", "has shape [4]")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [1,2,3,4]}, {"name": "b", "shape": [2, 4], "datatype": "FP32", "data": [1,2,3,4,1,2,3,4]}]}""", "1 and 2 rows")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [0, 4], "datatype": "FP32", "data": []}, {"name": "b", "shape": [0, 4], "datatype": "FP32", "data": []}]}""", "no rows")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [-1, 4], "datatype": "FP32", "data": []}]}""", "'-1'")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [4611686018427387904, 4], "datatype": "FP32", "data": [1]}]}""", "fewer elements")]
    [InlineData("""{"inputs": [{"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [NaN,2,3,4]}]}""", "no NaN")]
    [InlineData("not json", "not JSON")]
    public async Task Infer_OfWhatDoesNotFit_Is400WithTheReason(string body, string reason)
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        Assert.Contains(reason, await (await service.InferAsync(name, body)).ErrorAsync(400), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Infer_OfUnknownOutput_Is400()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        Assert.Contains("'sum', 'difference'", await (await service.InferAsync(name, AddSubtract("""[{"name": "product"}]"""))).ErrorAsync(400), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Infer_NestedAThousandDeep_Is400AndTheServiceStaysUp()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        var deep = $$"""{"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": {{new string('[', 1000)}}{{new string(']', 1000)}}}]}""";

        await (await service.InferAsync(name, deep)).ErrorAsync(400);

        await (await service.InferAsync(name, AddSubtract("[]"))).JsonAsync();
    }

    [Theory]
    [InlineData("GET", "/v2/models/nobody")]
    [InlineData("GET", "/v2/models/nobody/stats")]
    [InlineData("GET", "/v2/models/nobody/config")]
    [InlineData("GET", "/v2/models/nobody/versions/1")]
    [InlineData("POST", "/v2/models/nobody/infer")]
    [InlineData("POST", "/v2/models/nobody/versions/1/infer")]
    [InlineData("POST", "/v2/repository/models/nobody/load")]
    [InlineData("POST", "/v2/repository/models/nobody/unload")]
    [InlineData("GET", "/v2/nothing/here")]
    public async Task Unknown_Is404WithAnError(string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);

        Assert.NotEmpty(await (await service.Http.SendAsync(request)).ErrorAsync(404));
    }

    [Fact]
    public async Task Infer_OfAVersionThatIsNotServed_Is404()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        foreach (var version in new[] { "2", "0", "-1", "abc", "01" })
        {
            var content = new StringContent(AddSubtract("[]"));
            await (await service.Http.PostAsync($"/v2/models/{name}/versions/{version}/infer", content)).ErrorAsync(404);
        }
    }

    [Fact]
    public async Task Infer_OfValuesTheModelCannotCompute_Is400()
    {
        var name = await service.DeployAsync(Models.Lookup());

        var error = await (await service.InferAsync(name, """{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [99]}]}""")).ErrorAsync(400);

        Assert.Contains("cannot compute", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Infer_OfMoreRowsThanABatch_IsComputedInParts()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.String, "N"), new { maxBatch = 4 });
        var values = Enumerable.Range(0, 10).Select(i => "row " + new string('x', i)).ToArray();

        var reply = await (await service.InferAsync(
            name, $$"""{"inputs": [{"name": "x", "shape": [10], "datatype": "BYTES", "data": {{JsonSerializer.Serialize(values)}}}]}""")).JsonAsync();

        Assert.Equal(values, reply.GetProperty("outputs")[0].GetProperty("data").Deserialize<string[]>()!);
        var stats = await StatisticsAsync(name);
        // 4 + 4 + 2 rows: one request, ten inferences, three executions.
        Assert.Equal(1, stats.GetProperty("inference_stats").GetProperty("success").GetProperty("count").GetInt64());
        Assert.Equal(10, stats.GetProperty("inference_count").GetInt64());
        Assert.Equal(3, stats.GetProperty("execution_count").GetInt64());
    }

    [Fact]
    public async Task Infer_OfAModelWhoseRowsCannotBeToldApart_RunsAlone()
    {
        var name = await service.DeployAsync(Models.Twice(), new { maxBatch = 0 });

        var reply = await (await service.InferAsync(
            name, """{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]}]}""")).JsonAsync();

        Assert.Equal("[1,2,3,1,2,3]", reply.GetProperty("outputs")[0].GetProperty("data").GetRawText());
    }

    [Fact]
    public async Task Statistics_OfABatchOfEight_AreOneRequestEightInferencesOneExecution()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N"));

        await (await service.InferAsync(name, """{"inputs": [{"name": "x", "shape": [8], "datatype": "FP32", "data": [1,2,3,4,5,6,7,8]}]}""")).JsonAsync();

        var stats = await StatisticsAsync(name);
        Assert.Equal("1", stats.GetProperty("version").GetString());
        Assert.Equal(1, stats.GetProperty("inference_stats").GetProperty("success").GetProperty("count").GetInt64());
        Assert.Equal(8, stats.GetProperty("inference_count").GetInt64());
        Assert.Equal(1, stats.GetProperty("execution_count").GetInt64());
        var batch = Assert.Single(stats.GetProperty("batch_stats").EnumerateArray());
        Assert.Equal(8, batch.GetProperty("batch_size").GetInt64());
        Assert.Equal(1, batch.GetProperty("compute_infer").GetProperty("count").GetInt64());
        Assert.True(stats.GetProperty("last_inference").GetInt64() > 0);
        Assert.Contains(name, (await (await service.Http.GetAsync("/v2/models/stats")).JsonAsync()).GetProperty("model_stats")
            .EnumerateArray().Select(m => m.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Statistics_OfTwoMergedRequests_AreTwoRequestsTwoInferencesOneExecution()
    {
        // The first waits up to a second for the second; a batch of two is then full.
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N"), new { maxBatch = 2, maxDelayMs = 1000 });
        const string body = """{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}""";

        await Task.WhenAll(
            (await service.InferAsync(name, """{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}""")).JsonAsync(),
            Task.WhenAll((await Task.WhenAll(service.InferAsync(name, body), service.InferAsync(name, body))).Select(r => r.JsonAsync())));

        var stats = await StatisticsAsync(name);
        // The batch of two rows first, then the merged pair.
        Assert.Equal(3, stats.GetProperty("inference_stats").GetProperty("success").GetProperty("count").GetInt64());
        Assert.Equal(4, stats.GetProperty("inference_count").GetInt64());
        Assert.Equal(2, stats.GetProperty("execution_count").GetInt64());
    }

    [Fact]
    public async Task Statistics_OfAFailedRequest_CountAsFail()
    {
        var name = await service.DeployAsync(Models.Lookup());

        await (await service.InferAsync(name, """{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [99]}]}""")).ErrorAsync(400);

        var stats = await StatisticsAsync(name);
        Assert.Equal(1, stats.GetProperty("inference_stats").GetProperty("fail").GetProperty("count").GetInt64());
        Assert.Equal(0, stats.GetProperty("inference_count").GetInt64());
    }

    [Fact]
    public async Task Configuration_HasTritonsShape()
    {
        var name = await service.DeployAsync(Models.AddSubtract(), new { maxBatch = 16, maxDelayMs = 1.5, maxQueue = 9 });

        var config = await (await service.Http.GetAsync($"/v2/models/{name}/config")).JsonAsync();

        Assert.Equal(16, config.GetProperty("max_batch_size").GetInt32());
        Assert.Equal("""{"name":"a","data_type":"TYPE_FP32","dims":[4]}""", config.GetProperty("input")[0].GetRawText());
        Assert.Equal(1500, config.GetProperty("dynamic_batching").GetProperty("max_queue_delay_microseconds").GetInt64());
        Assert.Equal(9, config.GetProperty("dynamic_batching").GetProperty("default_queue_policy").GetProperty("max_queue_size").GetInt32());
    }

    [Fact]
    public async Task Repository_UnloadAndLoad_SwitchTheDeployment()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        Assert.Equal("READY", await StateAsync());

        Assert.Equal(HttpStatusCode.OK, (await service.Http.PostAsync($"/v2/repository/models/{name}/unload", null)).StatusCode);
        Assert.Equal("UNAVAILABLE", await StateAsync());
        await (await service.InferAsync(name, AddSubtract("[]"))).ErrorAsync(404);
        Assert.DoesNotContain(name, await (await service.Http.PostAsync("/v2/repository/index", new StringContent("""{"ready": true}"""))).Content.ReadAsStringAsync());

        Assert.Equal(HttpStatusCode.OK, (await service.Http.PostAsync($"/v2/repository/models/{name}/load", new StringContent("{}"))).StatusCode);
        Assert.Equal("READY", await StateAsync());
        await (await service.InferAsync(name, AddSubtract("[]"))).JsonAsync();

        async Task<string?> StateAsync() =>
            (await (await service.Http.PostAsync("/v2/repository/index?a=b", null)).JsonAsync()).EnumerateArray()
            .Single(e => e.GetProperty("name").GetString() == name).GetProperty("state").GetString();
    }

    [Fact]
    public async Task Repository_LoadWithAModelOfItsOwn_Is501()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        var content = new StringContent("""{"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}}""");

        await (await service.Http.PostAsync($"/v2/repository/models/{name}/load", content)).ErrorAsync(501);
    }

    [Fact]
    public async Task Roles_ReaderInfersButDoesNotUnload_AnonymousGetsNothing()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        using var reader = service.ClientOf(Roles.Reader);
        using var anonymous = service.Anonymous();

        await (await reader.PostAsync($"/v2/models/{name}/infer", new StringContent(AddSubtract("[]")))).JsonAsync();
        Assert.Equal(HttpStatusCode.Forbidden, (await reader.PostAsync($"/v2/repository/models/{name}/unload", null)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await anonymous.GetAsync($"/v2/models/{name}")).StatusCode);
    }

    private async Task<JsonElement> StatisticsAsync(string name) =>
        (await (await service.Http.GetAsync($"/v2/models/{name}/versions/1/stats")).JsonAsync()).GetProperty("model_stats")[0];

    private static string AddSubtract(string outputs) => $$"""
        {"inputs": [
          {"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
          {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [4, 3, 2, 1]}], "outputs": {{outputs}}}
        """;
}
