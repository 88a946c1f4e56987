using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Testing;

namespace DeepSeek.Explainability.Tests;

public sealed class ExplanationServiceTests(ExplainabilityFixture service) : IClassFixture<ExplainabilityFixture>
{
    private HttpClient Operator => service.ClientOf("operator", "ada");

    [Fact]
    public async Task Schema_MatchesTheModel()
    {
        service.Start();
        await SchemaAssert.MatchesModel<ExplainabilityDb>(service.Services);
    }

    /// <summary>Values of the served report against the six orders of three players, in double precision over the same background.</summary>
    [Fact]
    public async Task Explanation_OfGivenRow_HasTheShapleyValuesOfItsGame()
    {
        var document = await ExplainAsync(new { modelName = "scores", version = "1", rows = new[] { new { a = 0.5, b = (double?)null, city = "Rome" }, new { a = 1.0, b = (double?)0.25, city = "Paris" } }, background = new { rows = ExplainabilityFixture.TrainRows } });

        Assert.Equal("succeeded", document.GetProperty("state").GetString());
        var report = document.GetProperty("report");
        Assert.Equal("exact", report.GetProperty("method").GetString());
        Assert.Equal("yes", report.GetProperty("output").GetString());
        Assert.InRange(report.GetProperty("maxAdditivityError").GetDouble(), 0, 1e-6);
        var phi = report.GetProperty("rows")[1].GetProperty("phi").EnumerateArray().Select(value => value.GetDouble()).ToArray();
        var expected = Brute(1.0, 0.25, "Paris");
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(expected[i], phi[i], 1e-6); // the model computes in single precision
        }

        Assert.Equal(["a", "b", "city"], report.GetProperty("features").EnumerateArray().Select(name => name.GetString()!));
        Assert.Equal(JsonValueKind.Null, report.GetProperty("rows")[0].GetProperty("inputs").GetProperty("b").ValueKind);
    }

    [Fact]
    public async Task Explanation_OfDeployment_DrawsRowsAndServesThePage()
    {
        var document = await ExplainAsync(new { deployment = "live", count = 7, method = "permutation", sampling = new { maxPairs = 20 } });

        var report = document.GetProperty("report");
        Assert.Equal(7, report.GetProperty("rows").GetArrayLength());
        Assert.Equal(3, report.GetProperty("rows")[0].GetProperty("standardErrors").GetArrayLength());
        Assert.InRange(report.GetProperty("maxAdditivityError").GetDouble(), 0, 1e-6);
        using var page = await Operator.GetAsync($"/api/v1/explanations/{document.GetProperty("id").GetGuid()}/report");
        Assert.Equal("text/html", page.Content.Headers.ContentType!.MediaType);
        Assert.Contains("<svg", await page.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Explanation_OfMaskedColumns_StoresNoValueThatWasSent()
    {
        const string mail = "grace.planted.7f3a@example.org";
        var document = await ExplainAsync(new
        {
            modelName = "people",
            version = "1",
            rows = new object[]
            {
                new { age = 37.04625, mail, born = "1961-07-23T11:42:17Z" },
                new { age = 20, mail = People.KnownMail, born = 0 },
            },
        });

        Assert.True(document.GetProperty("state").GetString() == "succeeded", document.GetRawText());
        var rows = document.GetProperty("report").GetProperty("rows");
        var born = (new DateTime(1961, 1, 1, 0, 0, 0, DateTimeKind.Utc) - DateTime.UnixEpoch).TotalSeconds;
        Assert.Equal((35, "(masked)", born), (rows[0].GetProperty("inputs").GetProperty("age").GetDouble(), rows[0].GetProperty("inputs").GetProperty("mail").GetString(), rows[0].GetProperty("inputs").GetProperty("born").GetDouble()));
        // A raw mail is an unknown category to a model that has seen hashes, as its mask is.
        Assert.Equal(People.Probability(35, mail, born), rows[0].GetProperty("fx").GetDouble(), 1e-6);
        Assert.Equal(People.KnownMail, rows[1].GetProperty("inputs").GetProperty("mail").GetString());
        Assert.Equal(People.Probability(25, People.KnownMail, 0), rows[1].GetProperty("fx").GetDouble(), 1e-6);
        using var page = await Operator.GetAsync($"/api/v1/explanations/{document.GetProperty("id").GetGuid()}/report");
        var stored = await service.Database.DumpAsync() + await page.Content.ReadAsStringAsync();
        Assert.Contains(People.KnownMail, stored, StringComparison.Ordinal);
        foreach (var planted in new[] { "planted.7f3a", "37.04625", "1961-07-23", "-266415463" })
        {
            Assert.DoesNotContain(planted, stored, StringComparison.Ordinal);
            Assert.Empty(TestFolder.FilesWith(service.DataFolder, planted));
        }
    }

    [Fact]
    public async Task Create_BadValueOfAMaskedColumn_IsRefusedUnquoted()
    {
        using var response = await Operator.PostAsync("/api/v1/explanations", new StringContent(
            """{"modelName":"people","version":"1","rows":[{"age":"planted-age","mail":["planted-mail"],"born":"planted-day"}]}""", null, "application/json"));

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var problem = await response.Content.ReadAsStringAsync();
        Assert.Equal(["rows[0].age", "rows[0].born", "rows[0].mail"], JsonElement.Parse(problem).GetProperty("errors").EnumerateObject().Select(error => error.Name).Order());
        Assert.DoesNotContain("planted", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunJob_DeliveredTwice_StoresOneReport()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<JobCompleted>();
        var created = await CreateAsync(new { deployment = "live", count = 1 });
        var offer = Offer(created, attempt: 1);

        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), offer);
        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), offer with { LeaseId = Guid.NewGuid() });
        await bus.ReceiveAsync<JobCompleted>(message => message.JobId == offer.JobId);
        await EndedAsync(offer.SubjectId);

        Assert.Single(bus.Received<JobCompleted>(), envelope => envelope.Message.JobId == offer.JobId);
    }

    [Fact]
    public async Task JobEnded_WithoutReport_MarksTheExplanation()
    {
        await using var bus = await service.BusAsync();
        var created = await CreateAsync(new { deployment = "live" });
        var (id, job) = (created.GetProperty("id").GetGuid(), created.GetProperty("jobId").GetGuid());

        await bus.PublishAsync(new JobEnded { JobId = job, Kind = JobKinds.Explain, SubjectId = id, State = JobState.Failed, Error = "no worker came" });

        var ended = await EndedAsync(id);
        Assert.Equal("failed", ended.GetProperty("state").GetString());
        Assert.Equal("no worker came", ended.GetProperty("error").GetString());
        var list = JsonElement.Parse(await Operator.GetStringAsync("/api/v1/explanations?limit=200"));
        Assert.Equal(ended.GetRawText(), list.GetProperty("items").EnumerateArray().Single(item => item.GetProperty("id").GetGuid() == id).GetRawText());
        using var page = await Operator.GetAsync($"/api/v1/explanations/{id}/report");
        Assert.Equal(HttpStatusCode.Conflict, page.StatusCode);
    }

    [Fact]
    public async Task RunJob_AfterTheJobFailed_ExplainsAndClearsTheError()
    {
        await using var bus = await service.BusAsync();
        var created = await CreateAsync(new { deployment = "live", count = 1 });
        var offer = Offer(created, attempt: 4);
        await bus.PublishAsync(new JobEnded { JobId = offer.JobId, Kind = JobKinds.Explain, SubjectId = offer.SubjectId, State = JobState.Failed, Error = "no worker came" });
        await EndedAsync(offer.SubjectId);

        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), offer);

        await Eventually.True(async () => (await ReadAsync(offer.SubjectId)).GetProperty("state").GetString() == "succeeded");
        Assert.Equal(JsonValueKind.Null, (await ReadAsync(offer.SubjectId)).GetProperty("error").ValueKind);
    }

    [Fact]
    public async Task JobEnded_OfAnEarlierAttempt_LeavesTheRetryAlone()
    {
        await using var bus = await service.BusAsync();
        var created = await CreateAsync(new { deployment = "live" });
        var (id, job, late, current) = (created.GetProperty("id").GetGuid(), created.GetProperty("jobId").GetGuid(), Guid.NewGuid(), Guid.NewGuid());
        var ended = new JobEnded { JobId = job, Kind = JobKinds.Explain, SubjectId = id, State = JobState.Failed, Attempt = 1, Error = "the worker was lost" };
        await service.Database.ScalarAsync<object>($"update explanations set state = 'Running', attempt = 2 where id = '{id}'");

        await bus.PublishAsync(ended, late);
        await service.Database.HandledAsync(late);
        Assert.Equal("running", (await ReadAsync(id)).GetProperty("state").GetString());

        await bus.PublishAsync(ended with { Attempt = 2 }, current);
        await service.Database.HandledAsync(current);
        Assert.Equal("failed", (await ReadAsync(id)).GetProperty("state").GetString());
    }

    [Fact]
    public async Task RunJob_AfterTheReport_TellsOfItAgain()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<JobCompleted>();
        var created = await CreateAsync(new { deployment = "live", count = 1 });
        var first = Offer(created, attempt: 1);
        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), first);
        var report = (await EndedAsync(first.SubjectId)).GetProperty("report").GetRawText();

        var second = Offer(created, attempt: 2);
        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), second);

        var told = await bus.ReceiveAsync<JobCompleted>(message => message.LeaseId == second.LeaseId);
        Assert.Equal($"/api/v1/explanations/{first.SubjectId}", told.ResultUri);
        Assert.Equal(report, (await ReadAsync(first.SubjectId)).GetProperty("report").GetRawText());
    }

    [Fact]
    public async Task Create_RepeatedUnderOneKey_MakesOneExplanationAndOneJob()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<SubmitJob>();
        using var client = service.ClientOf("operator", "ada");
        client.DefaultRequestHeaders.Add("Idempotency-Key", Guid.NewGuid().ToString());
        async Task<Guid> PostAsync(HttpClient from, int count)
        {
            using var response = await from.PostAsJsonAsync("/api/v1/explanations", new { deployment = "live", count });
            Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
            var id = (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("id").GetGuid();
            Assert.Equal($"/api/v1/explanations/{id}", response.Headers.Location!.ToString());
            return id;
        }

        // At the same time, and later.
        var ids = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => PostAsync(client, 3)));
        var later = await PostAsync(client, 3);
        Guid[] others = [await PostAsync(client, 4), await PostAsync(Operator, 3), await PostAsync(Operator, 3)];

        Assert.Equal([later], ids.Distinct());
        Assert.Equal(4, others.Append(later).Distinct().Count());
        await bus.ReceiveAsync<SubmitJob>(message => message.SubjectId == others[^1]);
        Assert.Single(bus.Received<SubmitJob>(), envelope => envelope.Message.SubjectId == later);
    }

    [Theory]
    [InlineData("""{}""", "deployment")]
    [InlineData("""{"deployment":"live","modelName":"scores","version":"1"}""", "deployment")]
    [InlineData("""{"deployment":"unknown"}""", "deployment")]
    [InlineData("""{"deployment":"no\u0000name"}""", "deployment")]
    [InlineData("""{"modelName":"no\u0000name","version":"1"}""", "version")]
    [InlineData("""{"deployment":"live","rows":[null]}""", "rows")]
    [InlineData("""{"modelName":"scores"}""", "version")]
    [InlineData("""{"modelName":"scores","version":"9"}""", "version")]
    [InlineData("""{"deployment":"live","rows":[]}""", "rows")]
    [InlineData("""{"deployment":"live","rows":[{"a":1,"b":2}]}""", "rows[0].city")]
    [InlineData("""{"deployment":"live","rows":[{"a":"x","b":2,"city":"Rome"}]}""", "rows[0].a")]
    [InlineData("""{"deployment":"live","rows":[{"a":1e999,"b":2,"city":"Rome"}]}""", "rows[0].a")]
    [InlineData("""{"deployment":"live","rows":[{"a":1,"b":2,"city":["Rome"]}]}""", "rows[0].city")]
    [InlineData("""{"deployment":"live","rows":[{"a":1,"b":2,"city":"Rome","d":1}]}""", "rows[0].d")]
    [InlineData("""{"deployment":"live","count":0}""", "count")]
    [InlineData("""{"deployment":"live","split":"holdout"}""", "split")]
    [InlineData("""{"deployment":"live","method":"occlusion"}""", "method")]
    [InlineData("""{"deployment":"live","output":"maybe"}""", "output")]
    [InlineData("""{"deployment":"live","background":{"rows":99999999}}""", "background.rows")]
    [InlineData("""{"deployment":"live","background":{"rows":-1}}""", "background.rows")]
    [InlineData("""{"deployment":"live","sampling":{"maxPairs":2147483647}}""", "sampling.maxPairs")]
    [InlineData("""{"deployment":"live","priority":101}""", "priority")]
    public async Task Create_BadSpec_IsRefusedNamingTheField(string spec, string field)
    {
        using var response = await Operator.PostAsync("/api/v1/explanations", new StringContent(spec, null, "application/json"));

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Contains(field, problem.GetProperty("errors").EnumerateObject().Select(error => error.Name));
    }

    [Fact]
    public async Task Access_FollowsRoles()
    {
        using var anonymous = await service.Anonymous().GetAsync("/api/v1/explanations");
        using var reader = await service.ClientOf("reader").PostAsJsonAsync("/api/v1/explanations", new { deployment = "live" });
        using var unknown = await Operator.GetAsync($"/api/v1/explanations/{Guid.NewGuid()}");

        Assert.Equal(HttpStatusCode.Unauthorized, anonymous.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, reader.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
    }

    private async Task<JsonElement> ExplainAsync(object spec)
    {
        await using var bus = await service.BusAsync();
        var created = await CreateAsync(spec);
        await bus.SendAsync(JobKinds.Queue(JobKinds.Explain), Offer(created, attempt: 1));
        return await EndedAsync(created.GetProperty("id").GetGuid());
    }

    private async Task<JsonElement> CreateAsync(object spec)
    {
        using var response = await Operator.PostAsJsonAsync("/api/v1/explanations", spec);
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        var created = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Equal($"/api/v1/explanations/{created.GetProperty("id").GetGuid()}", response.Headers.Location!.ToString());
        return created;
    }

    private async Task<JsonElement> EndedAsync(Guid id)
    {
        JsonElement document = default;
        await Eventually.True(async () =>
        {
            document = await ReadAsync(id);
            return document.GetProperty("endedAt").ValueKind != JsonValueKind.Null;
        });
        return document;
    }

    private Task<JsonElement> ReadAsync(Guid id) => Operator.GetFromJsonAsync<JsonElement>($"/api/v1/explanations/{id}");

    private static RunJob Offer(JsonElement created, int attempt) => new()
    {
        JobId = created.GetProperty("jobId").GetGuid(),
        Kind = JobKinds.Explain,
        SubjectId = created.GetProperty("id").GetGuid(),
        LeaseId = Guid.NewGuid(),
        Attempt = attempt,
        LeaseSeconds = 30,
    };

    // Mean over the orders of each player's contribution: the definition itself.
    private static double[] Brute(double a, double b, string city)
    {
        double Value(bool hasA, bool hasB, bool hasCity) => Enumerable.Range(0, ExplainabilityFixture.TrainRows).Select(ExplainabilityFixture.Row)
            .Average(row => ExplainabilityFixture.Probability(hasA ? a : row.A, hasB ? b : row.B, hasCity ? city : row.City));

        var phi = new double[3];
        foreach (var order in new int[][] { [0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0] })
        {
            var members = new bool[3];
            foreach (var player in order)
            {
                var before = Value(members[0], members[1], members[2]);
                members[player] = true;
                phi[player] += (Value(members[0], members[1], members[2]) - before) / 6;
            }
        }

        return phi;
    }
}
