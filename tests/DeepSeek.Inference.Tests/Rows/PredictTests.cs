using System.Text.Json;
using DeepSeek.Onnx;
using DeepSeek.Testing;

namespace DeepSeek.Inference.Tests.Rows;

public sealed class PredictTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const string Good = """{"age": 40, "member": true, "since": "2024-01-01", "city": "Paris"}""";

    [Fact]
    public async Task Rows_AreTypedByTheModelsOwnSchema()
    {
        var name = await service.DeployAsync(Models.Classifier(bias: -5));

        using var response = await service.PredictAsync(name, $$"""
            {"rows": [{{Good}},
                      {"city": "Oslo", "since": "2024-01-01T10:00:00+02:00", "member": false, "age": 12.5},
                      {"age": null, "member": null, "since": null, "city": null}]}
            """);
        var reply = await response.JsonAsync();

        // logit = -5 + 0.1·age + 2·member + 3·[Paris]: 4, -3.75, -5; probability = 1 / (1 + e^-logit).
        var predictions = reply.GetProperty("predictions");
        Assert.Equal(["yes", "no", "no"], predictions.EnumerateArray().Select(p => p.GetProperty("label").GetString()));
        Assert.Equal(0.98201, Yes(0), 5);
        Assert.Equal(0.02298, Yes(1), 5);
        Assert.Equal(0.00669, Yes(2), 5);
        Assert.Equal(name, reply.GetProperty("model").GetString());
        Assert.Equal(1, reply.GetProperty("version").GetInt32());
        var id = response.Headers.GetValues("X-Prediction-Id").Single();
        Assert.Equal([id + ".0", id + ".1", id + ".2"], reply.GetProperty("predictionIds").Deserialize<string[]>()!);

        double Yes(int row) => predictions[row].GetProperty("probabilities").GetProperty("yes").GetDouble();
    }

    [Fact]
    public async Task Category_WithBlanksAround_IsTheOneWithout()
    {
        var name = await service.DeployAsync(Models.Classifier(bias: -5));

        // logit = -5 + 3, and 3 more for Paris.
        var reply = await (await service.PredictAsync(name, """
            {"rows": [{"age": 30, "member": false, "since": null, "city": "Paris"}, {"age": 30, "member": false, "since": null, "city": " \tParis "},
                      {"age": 30, "member": false, "since": null, "city": "Par is"}, {"age": 30, "member": false, "since": null, "city": "  "}]}
            """)).JsonAsync();

        Assert.Equal(["yes", "yes", "no", "no"], reply.GetProperty("predictions").EnumerateArray().Select(p => p.GetProperty("label").GetString()));
    }

    [Fact]
    public async Task Row_WithoutAFiniteProbability_HasNoLabel()
    {
        var name = await service.DeployAsync(Models.Classifier(bias: -5));

        // The instant overflows to infinity in single precision; infinity times its weight of 0 is no number.
        var reply = await (await service.PredictAsync(name, $$"""
            {"rows": [{{Good}}, {"age": 40, "member": true, "since": 1e300, "city": "Paris"}]}
            """)).JsonAsync();

        var predictions = reply.GetProperty("predictions");
        Assert.Equal("yes", predictions[0].GetProperty("label").GetString());
        Assert.Equal("""{"label":null,"probabilities":{"no":null,"yes":null}}""", predictions[1].GetRawText());
    }

    [Fact]
    public async Task Rows_OfARegression_GiveNumbers()
    {
        var name = await service.DeployAsync(Models.Regressor(2));

        var reply = await (await service.PredictAsync(name, """{"rows": [{"x": 1.5}, {"x": -4}]}""")).JsonAsync();

        Assert.Equal("""[{"prediction":3},{"prediction":-8}]""", reply.GetProperty("predictions").GetRawText());
    }

    [Theory]
    [InlineData("\"2024-05-01\"", 1714521600)] // date -u -d 2024-05-01 +%s
    [InlineData("\"2024-05-01T12:30:00Z\"", 1714566600)]
    [InlineData("\"2024-05-01T12:30:00\"", 1714566600)] // without an offset: UTC
    [InlineData("\"2024-05-01T12:30:00+02:00\"", 1714559400)]
    [InlineData("\"1969-12-31T23:59:59Z\"", -1)]
    [InlineData("86400.5", 86400.5)]
    public async Task DateTimes_BecomeSecondsSince1970InUtc(string value, double seconds)
    {
        // A model that returns its date-time: prediction = 1 · x.
        const string card = """{"inputs":[{"name":"x","type":"dateTime","datatype":"FP64","shape":[-1,1]}]}""";
        var model = OnnxModels.Load(Models.Regressor(1));
        model.MetadataProps.Add(new global::Onnx.StringStringEntryProto { Key = "deepseek.model", Value = card });
        var name = await service.DeployAsync(OnnxModels.ToBytes(model));

        var reply = await (await service.PredictAsync(name, $$"""{"rows": [{"x": {{value}}}]}""")).JsonAsync();

        Assert.Equal((float)seconds, reply.GetProperty("predictions")[0].GetProperty("prediction").GetSingle());
    }

    [Theory]
    [InlineData("""{"rows": [GOOD, {"age": 1, "member": true, "since": null}]}""", "rows[1].city", "missing")]
    [InlineData("""{"rows": [{"age": 1, "member": true, "since": null, "city": "x", "town": 1}]}""", "rows[0].town", "no column")]
    [InlineData("""{"rows": [GOOD, {"age": "old", "member": true, "since": null, "city": "x"}]}""", "rows[1].age", "finite number")]
    [InlineData("""{"rows": [{"age": "NaN", "member": true, "since": null, "city": "x"}]}""", "rows[0].age", "finite number")]
    [InlineData("""{"rows": [{"age": 1e999, "member": true, "since": null, "city": "x"}]}""", "rows[0].age", "finite number")]
    [InlineData("""{"rows": [{"age": 1, "member": "yes", "since": null, "city": "x"}]}""", "rows[0].member", "true or false")]
    [InlineData("""{"rows": [{"age": 1, "member": 2, "since": null, "city": "x"}]}""", "rows[0].member", "true or false")]
    [InlineData("""{"rows": [{"age": 1, "member": true, "since": "yesterday", "city": "x"}]}""", "rows[0].since", "ISO 8601")]
    [InlineData("""{"rows": [{"age": 1, "member": true, "since": "05/01/2024", "city": "x"}]}""", "rows[0].since", "ISO 8601")]
    [InlineData("""{"rows": [{"age": 1, "member": true, "since": "2024-02-30", "city": "x"}]}""", "rows[0].since", "ISO 8601")]
    [InlineData("""{"rows": [{"age": 1, "member": true, "since": null, "city": ["x"]}]}""", "rows[0].city", "an array")]
    [InlineData("""{"rows": [{"age": 1, "age": 2, "member": true, "since": null, "city": "x"}]}""", "rows[0].age", "twice")]
    [InlineData("""{"rows": [7]}""", "rows[0]", "object")]
    [InlineData("""{"rows": []}""", "rows", "at least one")]
    [InlineData("""{"rows": {}}""", "rows", "array")]
    [InlineData("""{"row": []}""", "row", "not a member")]
    [InlineData("""{}""", "rows", "missing")]
    [InlineData("""[]""", "body", "object")]
    public async Task Row_ThatDoesNotFit_Is400NamingRowAndColumn(string body, string field, string reason)
    {
        var name = await service.DeployAsync(Models.Classifier(bias: 0));

        var problem = await (await service.PredictAsync(name, body.Replace("GOOD", Good, StringComparison.Ordinal))).ProblemAsync(400);

        Assert.Contains(reason, problem.GetProperty("errors").GetProperty(field)[0].GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"rows\": [{\"age\": NaN}]}", "JSON has no NaN or Infinity. Send null")]
    [InlineData("{\"rows\": ", "not JSON")]
    [InlineData("", "not JSON")]
    public async Task Body_ThatIsNoJson_Is400(string body, string reason)
    {
        var name = await service.DeployAsync(Models.Classifier(bias: 0));

        var problem = await (await service.PredictAsync(name, body)).ProblemAsync(400);

        Assert.Contains(reason, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Rows_ForAModelThatTakesNone_Is400WithTheRemedy()
    {
        var name = await service.DeployAsync(Models.AddSubtract());

        var problem = await (await service.PredictAsync(name, """{"rows": [{}]}""")).ProblemAsync(400);

        Assert.Contains("/v2/models/", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Predict_OnAnUnknownDeployment_Is404() =>
        await (await service.PredictAsync("nobody", """{"rows": [{}]}""")).ProblemAsync(404);

    [Fact]
    public async Task Prediction_IsFoundByItsIds_WithResultAndLineage()
    {
        var name = await service.DeployAsync(Models.Classifier(bias: 0));
        var reply = await (await service.PredictAsync(name, $$"""{"rows": [{{Good}}, {"age": -90, "member": false, "since": null, "city": "x"}]}""")).JsonAsync();
        var second = reply.GetProperty("predictionIds")[1].GetString()!;

        var prediction = await Eventually.NotNull(async () =>
        {
            var found = await (await service.Http.GetAsync($"/api/v1/predictions/{second}")).JsonAsync();
            return found.GetProperty("logged").GetBoolean() ? found.ToString() : null;
        });

        var document = JsonElement.Parse(prediction);
        Assert.Equal(1, document.GetProperty("row").GetInt32());
        Assert.Equal(2, document.GetProperty("rows").GetInt32());
        Assert.Equal("no", document.GetProperty("result").GetProperty("label").GetString());
        Assert.Equal("tester", document.GetProperty("actor").GetString());
        Assert.Equal("rows", document.GetProperty("kind").GetString());
        var lineage = await (await service.Http.GetAsync($"/api/v1/predictions/{second}/lineage")).JsonAsync();
        Assert.Equal("dataset", lineage.GetProperty("lineage").GetProperty("chain")[1].GetProperty("kind").GetString());
        await (await service.Http.GetAsync($"/api/v1/predictions/{second[..^1]}2")).ProblemAsync(404);
    }

    [Fact]
    public async Task Prediction_WhoseLogEntryIsLost_StillLeadsToItsVersion()
    {
        var name = await service.DeployAsync(Models.Regressor(1));
        var reply = await (await service.PredictAsync(name, """{"rows": [{"x": 1}]}""")).JsonAsync();
        var version = reply.GetProperty("predictionIds")[0].GetString()!.Split('-')[0];

        // The same version, a request that was never logged.
        var found = await (await service.Http.GetAsync($"/api/v1/predictions/{version}-{Guid.NewGuid():N}")).JsonAsync();

        Assert.False(found.GetProperty("logged").GetBoolean());
        Assert.Equal(name, found.GetProperty("model").GetString());
        Assert.Equal(1, found.GetProperty("version").GetInt32());
    }

    [Theory]
    [InlineData("x")]
    [InlineData("00000000000000000000000000000000-00000000000000000000000000000000")]
    [InlineData("00000000000000000000000000000000-00000000000000000000000000000000.-1")]
    [InlineData("00000000000000000000000000000000-00000000000000000000000000000000.99999999999")]
    public async Task Prediction_Unknown_Is404(string id) =>
        await (await service.Http.GetAsync($"/api/v1/predictions/{id}")).ProblemAsync(404);

    [Fact]
    public async Task Image_AsAColumn_TakesNestedBytes()
    {
        // prediction = sum of the four bytes.
        var g = new OnnxGraph("image").Metadata("deepseek.model", """{"inputs":[{"name":"image","type":"image","datatype":"UINT8","shape":[-1,1,2,2]}]}""");
        var x = g.Node("Cast", [g.Input("image", OnnxType.UInt8, "N", 1, 2, 2)], OnnxAttribute.Of("to", (long)OnnxType.Float));
        var flat = g.Node("Reshape", [x, g.Initializer(OnnxTensors.Of("shape", new long[] { -1, 4 }, 2))]);
        g.NodeTo("prediction", "MatMul", [flat, g.Initializer(OnnxTensors.Of("ones", new[] { 1f, 1, 1, 1 }, 4, 1))]);
        g.Output("prediction", OnnxType.Float, "N", 1);
        var name = await service.DeployAsync(OnnxModels.ToBytes(g.ToModel()));

        var reply = await (await service.PredictAsync(name, """{"rows": [{"image": [[[1, 2], [3, 255]]]}, {"image": [0, 0, 0, 7]}]}""")).JsonAsync();

        Assert.Equal([261f, 7f], reply.GetProperty("predictions").EnumerateArray().Select(p => p.GetProperty("prediction").GetSingle()));
    }
}
