using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Compression.Compressions;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Contracts.Compression;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Contracts.Registry;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace DeepSeek.Compression.Tests.Service;

public sealed class CompressionServiceTests(CompressionFixture platform) : IClassFixture<CompressionFixture>
{
    [Fact]
    public Task Schema_Scripts_MatchTheModel() => SchemaAssert.MatchesModel<CompressionDb>(platform.Services);

    [Fact]
    public async Task Compress_ImageModel_RegistersASmallerVersionWithItsNumbers()
    {
        var name = await platform.RegisterAsync(platform.Net.Model, await ImageDataset.StoreAsync(platform.Blobs, platform.Net));

        var done = await platform.CompressAsync(new { modelName = name, version = 1, calibration = new { method = "minMax", samples = 200 }, budget = new { metric = "accuracy", maxDrop = 0.005 } });

        Assert.Equal("succeeded", done.GetProperty("state").GetString());
        var report = done.GetProperty("report");
        Assert.True(Number(report, "bytes", "fp32") >= 3.5 * Number(report, "bytes", "int8"), report.GetRawText());
        Assert.Equal(2000, Number(report, "accuracy", "rows"));
        Assert.InRange(Number(report, "accuracy", "drop"), -0.01, 0.005);
        Assert.True(Number(report, "agreement") >= 0.98);
        Assert.Equal(1, Number(report, "threads"));
        Assert.Equal(200, Number(report, "latencyMs", "runs"));
        Assert.Equal(200, Number(report, "calibration", "samples"));
        foreach (var model in new[] { "fp32", "int8" })
            Assert.InRange(Number(report, "latencyMs", model, "p50"), 1e-4, Number(report, "latencyMs", model, "p95"));

        var registered = await platform.Bus.ReceiveAsync<ModelVersionRegistered>(m => m.ModelName == name && m.Version == 2);
        Assert.Equal(done.GetProperty("id").GetGuid(), registered.SourceId);
        var version = await platform.Registry.GetFromJsonAsync<JsonElement>($"/api/v1/models/{name}/versions/2");
        Assert.Equal(1, version.GetProperty("parentVersion").GetInt32());
        Assert.Equal("ada", version.GetProperty("author").GetString());
        Assert.Equal(Number(report, "accuracy", "int8"), Number(version, "metrics", "accuracy"));

        // What was registered is what was measured.
        var artifacts = version.GetProperty("artifacts").EnumerateArray().ToDictionary(a => a.GetProperty("name").GetString()!, a => a.GetProperty("sha256").GetString()!);
        var bytes = await platform.Blobs.ReadAsync(artifacts["model.onnx"]);
        Assert.Equal(Number(report, "bytes", "int8"), bytes.Length);
        var accuracy = FashionNet.Accuracy(FashionNet.Rows(OnnxModels.Load(bytes), "probabilities", platform.Net.Test), platform.Net.Test.Labels);
        Assert.Equal(Number(report, "accuracy", "int8"), accuracy, 1e-9);
        var card = JsonElement.Parse(await platform.Blobs.ReadAsync(artifacts["model.json"]));
        Assert.Equal(7, Number(card, "seed"));
        Assert.Equal("int8Static", card.GetProperty("compression").GetProperty("method").GetString());
        Assert.Equal(1, Number(card, "compression", "parent", "version"));
        Assert.Equal("succeeded", (await platform.EndedJobAsync(done)).GetProperty("state").GetString());
    }

    [Fact]
    public async Task Compress_TabularModel_MeasuresEveryTestRowAndCalibratesOnNoneOfThem()
    {
        var name = await platform.RegisterAsync(TableDataset.TrainedModel(), await TableDataset.StoreAsync(platform.Blobs));

        var done = await platform.CompressAsync(new { modelName = name, version = "1", calibration = new { method = "entropy" }, budget = new { maxDrop = 0.02 } });

        var report = done.GetProperty("report");
        Assert.True(done.GetProperty("state").GetString() == "succeeded", done.GetRawText());
        Assert.Equal(TableDataset.TestRows, Number(report, "accuracy", "rows"));
        Assert.True(Number(report, "accuracy", "fp32") > 0.95, report.GetRawText());
        Assert.True(Number(report, "agreement") >= 0.98, report.GetRawText());
        Assert.Equal(512, Number(report, "calibration", "samples"));
        Assert.Equal(TableDataset.Shared, Number(report, "calibration", "sharedWithTest"));
    }

    [Fact]
    public async Task Compress_RegressionModel_IsMeasuredByR2()
    {
        var name = await platform.RegisterAsync(TableDataset.RegressionModel(), await TableDataset.StoreAsync(platform.Blobs, "regression"));

        var done = await platform.CompressAsync(new { modelName = name, version = "1", budget = new { metric = "r2", maxDrop = 0.005 } });

        var report = done.GetProperty("report");
        Assert.True(done.GetProperty("state").GetString() == "succeeded", done.GetRawText());
        Assert.Equal(1, Number(report, "accuracy", "fp32"), 1e-9);
        // Inputs in [−2, 2] have steps of 1/64: noise of about 1/64² · (1 + 1/4 + 1)/12 beside a variance of about 1.9.
        Assert.InRange(Number(report, "accuracy", "int8"), 0.999, 1);
        Assert.Equal(Number(report, "accuracy", "int8"), Number(report, "agreement"), 1e-6);
    }

    [Fact]
    public async Task JobEnded_Cancelled_MarksTheCompression()
    {
        await using var scope = platform.Services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CompressionDb>();
        var row = new CompressionRecord { Id = Guid.CreateVersion7(), JobId = Guid.CreateVersion7(), Owner = "ada", ModelName = "m", ParentVersion = 1, DatasetManifestSha256 = "", ParentArtifacts = "{}", Spec = "{}", CreatedAt = DateTimeOffset.UtcNow };
        db.Add(row);
        await db.SaveChangesAsync();

        await platform.Bus.PublishAsync(new JobEnded { JobId = row.JobId, Kind = JobKinds.Compress, SubjectId = row.Id, State = JobState.Cancelled });

        await Eventually.True(async () => (await platform.Client.GetFromJsonAsync<JsonElement>($"/api/v1/compressions/{row.Id}")).GetProperty("state").GetString() == "cancelled");
        await db.Compressions.Where(r => r.Id == row.Id).ExecuteDeleteAsync();
    }

    [Fact]
    public async Task JobEnded_OfAnEarlierAttempt_LeavesTheRetryAlone()
    {
        await using var scope = platform.Services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CompressionDb>();
        var row = new CompressionRecord { Id = Guid.CreateVersion7(), JobId = Guid.CreateVersion7(), Owner = "ada", ModelName = "m", ParentVersion = 1, DatasetManifestSha256 = "", ParentArtifacts = "{}", Spec = "{}", CreatedAt = DateTimeOffset.UtcNow, State = SubjectState.Running, Attempt = 2, LeaseId = Guid.NewGuid() };
        db.Add(row);
        await db.SaveChangesAsync();
        var (late, current) = (Guid.NewGuid(), Guid.NewGuid());
        var ended = new JobEnded { JobId = row.JobId, Kind = JobKinds.Compress, SubjectId = row.Id, State = JobState.Failed, Attempt = 1, Error = "the worker was lost" };

        await platform.Bus.PublishAsync(ended, late);
        await platform.Database.HandledAsync(late);
        Assert.Equal(SubjectState.Running, (await db.Compressions.AsNoTracking().SingleAsync(r => r.Id == row.Id)).State);

        await platform.Bus.PublishAsync(ended with { Attempt = 2 }, current);
        await platform.Database.HandledAsync(current);
        Assert.Equal(SubjectState.Failed, (await db.Compressions.AsNoTracking().SingleAsync(r => r.Id == row.Id)).State);
        await db.Compressions.Where(r => r.Id == row.Id).ExecuteDeleteAsync();
    }

    [Fact]
    public async Task Compress_OverBudget_IsRefusedWithItsNumbersAndRegistersNothing()
    {
        var name = await platform.RegisterAsync(TableDataset.FragileModel(), await TableDataset.StoreAsync(platform.Blobs));

        var done = await platform.CompressAsync(new { modelName = name, version = "1" });

        Assert.Equal("refused", done.GetProperty("state").GetString());
        var report = done.GetProperty("report");
        Assert.False(report.GetProperty("budget").GetProperty("met").GetBoolean());
        Assert.True(Number(report, "accuracy", "drop") > 0.05);
        Assert.Contains("the budget allows 0.005", done.GetProperty("error").GetString());
        var job = await platform.EndedJobAsync(done);
        Assert.Equal("failed", job.GetProperty("state").GetString());
        Assert.Equal(1, job.GetProperty("attempt").GetInt32());
        Assert.Contains("Nothing was registered", job.GetProperty("error").GetString());
        Assert.DoesNotContain(platform.Bus.Received<ModelCompressed>(), m => m.Message.ModelName == name);
        var versions = await platform.Registry.GetFromJsonAsync<JsonElement>($"/api/v1/models/{name}/versions");
        Assert.Equal(1, versions.GetProperty("items").GetArrayLength());

        // Trying again says the same.
        Assert.Equal(HttpStatusCode.OK, (await platform.Jobs.PostAsync($"/api/v1/jobs/{job.GetProperty("id").GetGuid()}/retry", null)).StatusCode);
        JsonElement retried = default;
        await Eventually.True(async () => (retried = await platform.EndedJobAsync(done)).GetProperty("attempt").GetInt32() == 2);
        Assert.Equal("failed", retried.GetProperty("state").GetString());
        Assert.Equal(job.GetProperty("error").GetString(), retried.GetProperty("error").GetString());
    }

    [Fact]
    public async Task Run_AfterTheJobFailed_StoresTheReportAndTellsOfItOnEveryLaterAttempt()
    {
        var name = await platform.RegisterAsync(TableDataset.RegressionModel(), await TableDataset.StoreAsync(platform.Blobs, "regression"));
        var done = await platform.CompressAsync(new { modelName = name, version = "1", budget = new { metric = "r2", maxDrop = 0.005 } });
        await platform.EndedJobAsync(done);
        var id = done.GetProperty("id").GetGuid();
        await using var scope = platform.Services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CompressionDb>();
        await db.Compressions.Where(r => r.Id == id).ExecuteUpdateAsync(set => set
            .SetProperty(r => r.State, SubjectState.Running).SetProperty(r => r.Report, (string?)null).SetProperty(r => r.EndedAt, (DateTimeOffset?)null).SetProperty(r => r.Attempt, 3));
        await platform.Bus.PublishAsync(new JobEnded { JobId = done.GetProperty("jobId").GetGuid(), Kind = JobKinds.Compress, SubjectId = id, State = JobState.Failed, Error = "the worker was lost" });
        await Eventually.True(async () => (await platform.Client.GetFromJsonAsync<JsonElement>($"/api/v1/compressions/{id}")).GetProperty("state").GetString() == "failed");

        var handler = scope.ServiceProvider.GetRequiredService<CompressHandler>();
        var retried = new RecordedJob { JobId = Guid.NewGuid(), SubjectId = id, LeaseId = Guid.NewGuid(), Attempt = 4 };
        await handler.RunAsync(retried, CancellationToken.None);
        var again = new RecordedJob { JobId = Guid.NewGuid(), SubjectId = id, LeaseId = Guid.NewGuid(), Attempt = 5 };
        await handler.RunAsync(again, CancellationToken.None);

        var row = await db.Compressions.AsNoTracking().SingleAsync(r => r.Id == id);
        Assert.Equal((SubjectState.Succeeded, null, 4), (row.State, row.Error, row.Attempt));
        Assert.NotNull(row.Report);
        Assert.Equal($"/api/v1/compressions/{id}", retried.ResultUri);
        Assert.Equal($"/api/v1/compressions/{id}", again.ResultUri);
    }

    [Fact]
    public async Task Compress_ModelWithoutLayers_FailsOnceAndSaysWhy()
    {
        var g = new OnnxGraph("g");
        g.NodeTo("probabilities", "Cast", [g.Node("Concat", [g.Input("a", OnnxType.Double, "N", 1), g.Input("b", OnnxType.Double, "N", 1)], OnnxAttribute.Of("axis", 1))], OnnxAttribute.Of("to", (int)OnnxType.Float));
        g.Output("probabilities", OnnxType.Float, "N", 2);
        var name = await platform.RegisterAsync(g.ToModel(), await TableDataset.StoreAsync(platform.Blobs));

        var done = await platform.CompressAsync(new { modelName = name, version = "1" });

        Assert.Equal("failed", done.GetProperty("state").GetString());
        Assert.Contains("no Conv, Gemm or MatMul", done.GetProperty("error").GetString());
        Assert.Equal(1, (await platform.EndedJobAsync(done)).GetProperty("attempt").GetInt32());
    }

    public static TheoryData<string, string> BadRequests => new()
    {
        { """{"version":"1"}""", "modelName" },
        { """{"modelName":"MODEL","version":"99"}""", "version" },
        { """{"modelName":"no-such-model","version":"1"}""", "version" },
        { """{"modelName":"MODEL","version":"1","method":"magic"}""", "method" },
        { """{"modelName":"MODEL","version":"1","calibration":{"samples":513}}""", "calibration.samples" },
        { """{"modelName":"MODEL","version":"1","calibration":{"samples":-1}}""", "calibration.samples" },
        { """{"modelName":"MODEL","version":"1","calibration":{"split":"test"}}""", "calibration.split" },
        { """{"modelName":"MODEL","version":"1","calibration":{"split":"holiday"}}""", "calibration.split" },
        { """{"modelName":"MODEL","version":"1","budget":{"maxDrop":1.5}}""", "budget.maxDrop" },
        { """{"modelName":"MODEL","version":"1","budget":{"metric":"beauty"}}""", "budget.metric" },
        { """{"modelName":"MODEL","version":"1","budget":{"metric":"r2"}}""", "budget.metric" },
        { """{"modelName":"MODEL","version":"1","priority":101}""", "priority" },
        { """{"modelName":"MODEL","version":"1","perChanel":true}""", "perChanel" },
        { """{"modelName":"MODEL","version":true}""", "version" },
    };

    [Theory]
    [MemberData(nameof(BadRequests))]
    public async Task Post_BadRequest_NamesTheField(string body, string field)
    {
        var name = await platform.RegisterAsync(TableDataset.FragileModel(), await TableDataset.StoreAsync(platform.Blobs));

        var reply = await platform.Client.PostAsync("/api/v1/compressions", new StringContent(body.Replace("MODEL", name, StringComparison.Ordinal), null, "application/json"));

        var text = await reply.Content.ReadAsStringAsync();
        Assert.True(reply.StatusCode == HttpStatusCode.BadRequest, $"{reply.StatusCode} {text}");
        Assert.True(JsonElement.Parse(text).GetProperty("errors").TryGetProperty(field, out _), text);
    }

    [Fact]
    public async Task Post_RepeatedUnderOneKey_MakesOneCompression()
    {
        var name = await platform.RegisterAsync(TableDataset.FragileModel(), await TableDataset.StoreAsync(platform.Blobs));
        using var client = platform.ClientOf(Roles.Operator, "ada");
        client.DefaultRequestHeaders.Add("Idempotency-Key", Guid.NewGuid().ToString());
        async Task<Guid> PostAsync(HttpClient from)
        {
            using var reply = await from.PostAsJsonAsync("/api/v1/compressions", new { modelName = name, version = "1" });
            Assert.Equal(HttpStatusCode.Accepted, reply.StatusCode);
            return (await reply.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("id").GetGuid();
        }

        // At the same time, and later.
        var ids = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => PostAsync(client)));
        var later = await PostAsync(client);
        var others = new[] { await PostAsync(platform.Client), await PostAsync(platform.Client) };

        Assert.Equal([later], ids.Distinct());
        Assert.Equal(3, others.Append(later).Distinct().Count());
        await using var scope = platform.Services.CreateAsyncScope();
        Assert.Equal(3, await scope.ServiceProvider.GetRequiredService<CompressionDb>().Compressions.CountAsync(row => row.ModelName == name));
    }

    [Fact]
    public async Task Post_ModelWithoutDataset_IsUnprocessable()
    {
        var name = await platform.RegisterAsync(TableDataset.FragileModel(), manifest: null);
        var reply = await platform.Client.PostAsJsonAsync("/api/v1/compressions", new { modelName = name, version = "1" });
        Assert.Equal(HttpStatusCode.UnprocessableEntity, reply.StatusCode);
        Assert.Contains("tells of no dataset", await reply.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Api_WrongRolesAndUnknownIds_AreRefused()
    {
        using var reader = platform.ClientOf(Roles.Reader);
        using var nobody = platform.Anonymous();
        Assert.Equal(HttpStatusCode.Forbidden, (await reader.PostAsJsonAsync("/api/v1/compressions", new { modelName = "m", version = "1" })).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await nobody.GetAsync("/api/v1/compressions")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await reader.GetAsync($"/api/v1/compressions/{Guid.NewGuid()}")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await reader.GetAsync("/api/v1/compressions?limit=1")).StatusCode);
    }

    [Fact]
    public async Task Run_OlderAttempt_LeavesTheNewerOnesRowAlone()
    {
        var id = Guid.CreateVersion7();
        await using var scope = platform.Services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<CompressionDb>();
        var lease = Guid.NewGuid();
        db.Add(new CompressionRecord
        {
            Id = id,
            JobId = Guid.NewGuid(),
            Owner = "ada",
            ModelName = "m",
            ParentVersion = 1,
            DatasetManifestSha256 = "",
            ParentArtifacts = "{}",
            Spec = "{}",
            State = SubjectState.Running,
            LeaseId = lease,
            Attempt = 2,
            CreatedAt = DateTimeOffset.UtcNow,
        });
        await db.SaveChangesAsync();
        var stale = new RecordedJob { JobId = Guid.NewGuid(), SubjectId = id, LeaseId = Guid.NewGuid(), Attempt = 1 };

        await scope.ServiceProvider.GetRequiredService<CompressHandler>().RunAsync(stale, CancellationToken.None);

        Assert.True(stale.Dropped);
        var row = await db.Compressions.AsNoTracking().SingleAsync(r => r.Id == id);
        Assert.Equal((lease, 2, SubjectState.Running), (row.LeaseId!.Value, row.Attempt, row.State));
        await db.Compressions.Where(r => r.Id == id).ExecuteDeleteAsync();
    }

    private static double Number(JsonElement element, params string[] path) => path.Aggregate(element, (e, member) => e.GetProperty(member)).GetDouble();
}
