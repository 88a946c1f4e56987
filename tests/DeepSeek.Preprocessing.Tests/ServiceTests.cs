using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Data;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Npgsql;

namespace DeepSeek.Preprocessing.Tests;

public sealed class ServiceTests(ServiceFixture service) : IClassFixture<ServiceFixture>
{
    private const string Spec = """{"name":"test set","format":"csv","target":"y"}""";

    private static string Csv(int rows = 300) => "x,city,y\n" + string.Concat(Enumerable.Range(0, rows).Select(i => $"{i % 37}.5,c{i % 4},{(i % 3 == 0 ? "p" : "q")}\n"));

    [Fact]
    public async Task Upload_GoodTable_EndsReadyWithEverythingInTheStore()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<SubmitJob>();
        await bus.ListenAsync<DatasetPrepared>();
        await bus.ListenAsync<JobCompleted>();
        var csv = Csv();
        var (id, jobId) = await service.UploadAsync(Spec, csv);
        var submitted = await bus.ReceiveAsync<SubmitJob>(m => m.JobId == jobId);
        Assert.Equal((JobKinds.Prepare, id, "tester"), (submitted.Kind, submitted.SubjectId, submitted.Owner));
        Assert.True(Directory.Exists(SpoolOf(id)));
        Assert.All(Directory.EnumerateFiles(SpoolOf(id)), f => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(f)));

        await ServiceFixture.RunAsync(bus, jobId, id);
        var dataset = await ServiceFixture.EndAsync(service.Operator, id);
        Assert.Equal("ready", dataset.GetProperty("state").GetString());
        Assert.Equal(300, dataset.GetProperty("rows").GetInt64());
        var prepared = await bus.ReceiveAsync<DatasetPrepared>(m => m.DatasetId == id);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(csv))), prepared.SourceSha256);
        Assert.Equal($"/api/v1/datasets/{id}", (await bus.ReceiveAsync<JobCompleted>(m => m.JobId == jobId)).ResultUri);

        var manifestBytes = await service.Operator.GetByteArrayAsync($"/api/v1/datasets/{id}/manifest");
        Assert.Equal(prepared.ManifestSha256, Convert.ToHexStringLower(SHA256.HashData(manifestBytes)));
        var manifest = DatasetManifest.Parse(manifestBytes);
        Assert.Equal(id, manifest.Id);
        string[] blobs =
        [
            prepared.ManifestSha256, manifest.Pipeline.Sha256, manifest.Profile!.Sha256,
            .. manifest.Splits.Values.SelectMany(s => s.Shards.Select(h => h.Sha256).Append(s.Sample!.Sha256)),
        ];
        Assert.All(blobs, sha => Assert.True(File.Exists(service.Peers.PathOf(sha)), sha));
        var profile = await ServiceFixture.GetAsync(service.Operator, $"/api/v1/datasets/{id}/profile");
        Assert.Equal(3, profile.GetProperty("columns").GetArrayLength());
        await Eventually.True(() => !Directory.Exists(SpoolOf(id)) && !Directory.EnumerateFileSystemEntries(Path.Combine(service.DataFolder, "preprocessing", "scratch")).Any());
        Assert.Contains(service.Peers.Beats, b => b.Log.Contains("fitting the feature pipeline"));

        using var deleted = await service.Operator.DeleteAsync($"/api/v1/datasets/{id}");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Operator.GetAsync($"/api/v1/datasets/{id}")).StatusCode);
    }

    [Theory]
    [InlineData("""{"name":"t","format":"csv","target":"y"}""", "x,y\n1,a\n2\n", "d.csv", "file", "row 2 (line 3) has 1 fields")]
    [InlineData("""{"name":"t","format":"csv","target":"z"}""", "x,y\n1,a\n2,b\n", "d.csv", "target", "no column 'z'")]
    [InlineData("""{"name":"t","format":"csv"}""", "x,y\n1,a\n", "d.csv", "target", "name the column to predict")]
    [InlineData("""{"name":"../t","format":"csv","target":"y"}""", "x,y\n1,a\n", "d.csv", "name", "letters, digits")]
    [InlineData("""{"name":"t","format":"csv","target":"y","colour":1}""", "x,y\n1,a\n", "d.csv", "colour", "is not a member")]
    [InlineData("""{"name":"t","format":"tsv","target":"y"}""", "x,y\n1,a\n", "d.csv", "format", "value that is not allowed")]
    [InlineData("""{"name":"t","format":"csv","target":"y","split":{"train":0.5}}""", "x,y\n1,a\n", "d.csv", "split", "add up to 1")]
    [InlineData("""{"name":"t","format":"csv","target":"y","split":{"seed":-1}}""", "x,y\n1,a\n", "d.csv", "split.seed", "between 0")]
    [InlineData("""{"name":"t","format":"csv","target":"y","maxCategories":99999999999}""", "x,y\n1,a\n", "d.csv", "maxCategories", "wrong type")]
    [InlineData("""{"name":"t","format":"csv","target":"y","columns":{"x":{"type":"image"}}}""", "x,y\n1,a\n", "d.csv", "columns.x.type", "a table cannot hold images")]
    [InlineData("""{"name":"t","format":"csv","target":"y"}""", "x,y\n1,a\n2,b\n", "../../etc/passwd", "file", "without '/'")]
    [InlineData("""{"name":"t","format":"csv","target":"y"}""", "", "d.csv", "file", "is empty")]
    [InlineData("""{"name":"t","format":"parquet","target":"y"}""", "PAR1 nothing like it PAR1", "d.parquet", "file", "not a readable Parquet file")]
    [InlineData("""{"name":"t","format":"parquet","target":"y"}""", "x,y\n1,a\n2,b\n", "d.parquet", "file", "PAR1")]
    [InlineData("""{"name":"t","format":"imageZip"}""", "PK nothing", "d.zip", "file", "not a zip archive")]
    [InlineData("""{"name":"t","format":"idx"}""", "abcdefgh", "images", "file", "IDX")]
    public async Task Upload_Bad_Is400NamingTheField(string spec, string content, string name, string field, string expected)
    {
        var spool = Directory.CreateDirectory(Path.Combine(service.DataFolder, "preprocessing", "spool")).FullName;
        var before = Directory.GetDirectories(spool);

        using var response = await service.Operator.PostAsync("/api/v1/datasets", ServiceFixture.Form(spec, (name, Encoding.UTF8.GetBytes(content))));

        await AssertProblemAsync(response, field, expected);
        Assert.Empty(Directory.GetDirectories(spool).Except(before));
    }

    [Fact]
    public async Task Upload_RepeatedUnderOneKey_MakesOneDatasetAndOneJob()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<SubmitJob>();
        using var client = service.ClientOf(Roles.Operator);
        client.DefaultRequestHeaders.Add("Idempotency-Key", Guid.NewGuid().ToString());
        (string, byte[])[] file = [("d.csv", Encoding.UTF8.GetBytes(Csv(50_000)))];

        var spool = Path.Combine(service.DataFolder, "preprocessing", "spool");
        Directory.CreateDirectory(spool);
        var before = Directory.GetDirectories(spool);

        // At the same time, and later.
        var uploads = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => ServiceFixture.UploadAsync(client, Spec, file)));
        var later = await ServiceFixture.UploadAsync(client, Spec, file);
        var others = new[] { await service.UploadAsync(Spec, Csv()), await service.UploadAsync(Spec, Csv()) };

        Assert.Equal([later], uploads.Distinct());
        Assert.Equal(3, others.Append(later).Distinct().Count());
        await bus.ReceiveAsync<SubmitJob>(message => message.JobId == others[1].JobId);
        Assert.Single(bus.Received<SubmitJob>(), envelope => envelope.Message.SubjectId == later.Id);
        Assert.True(File.Exists(Path.Combine(SpoolOf(later.Id), "intake.json")));
        Assert.Equal(others.Append(later).Select(upload => SpoolOf(upload.Id)).Order(), Directory.EnumerateDirectories(spool).Except(before).Order());
    }

    [Fact]
    public async Task Upload_FieldOfTenMegabytes_Is400AndTheServiceStaysUp()
    {
        var csv = Encoding.UTF8.GetBytes("x,y\n1,a\n" + new string('1', 10 << 20) + ",b\n");
        using var response = await service.Operator.PostAsync("/api/v1/datasets", ServiceFixture.Form(Spec, ("d.csv", csv)));
        await AssertProblemAsync(response, "file", "row 2 (line 3), column 'x': longer than 1,048,576 bytes");
        Assert.Equal(HttpStatusCode.OK, (await service.Anonymous().GetAsync("/health")).StatusCode);
    }

    [Fact]
    public async Task Upload_DeepSpec_Is400()
    {
        var deep = "{\"name\":" + new string('[', 1000) + new string(']', 1000) + "}";
        using var response = await service.Operator.PostAsync("/api/v1/datasets", ServiceFixture.Form(deep, ("d.csv", "x,y\n"u8.ToArray())));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Upload_PartsInWrongOrderOrShape_Are4xx()
    {
        using var json = await service.Operator.PostAsync("/api/v1/datasets", new StringContent("{}", Encoding.UTF8, "application/json"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, json.StatusCode);
        using var file = await service.Operator.PostAsync("/api/v1/datasets", new MultipartFormDataContent { { new ByteArrayContent([1]), "file", "x.csv" } });
        await AssertProblemAsync(file, "body", "'spec' must come before the file");
        using var none = await service.Operator.PostAsync("/api/v1/datasets", ServiceFixture.Form(Spec));
        await AssertProblemAsync(none, "file", "is missing");
        using var two = await service.Operator.PostAsync("/api/v1/datasets", ServiceFixture.Form(Spec, ("a.csv", Encoding.UTF8.GetBytes(Csv())), ("b.csv", [1])));
        await AssertProblemAsync(two, "file", "takes one file");
        var cut = new ByteArrayContent("--b\r\nContent-Disposition: form-data; name=\"spec\"\r\n\r\n{\"na"u8.ToArray());
        cut.Headers.TryAddWithoutValidation("Content-Type", "multipart/form-data; boundary=b");
        using var truncated = await service.Operator.PostAsync("/api/v1/datasets", cut);
        await AssertProblemAsync(truncated, "body", "");
    }

    [Fact]
    public async Task Roles_ThatMayNot_AreRefused()
    {
        using var anonymous = await service.Anonymous().GetAsync("/api/v1/datasets");
        Assert.Equal(HttpStatusCode.Unauthorized, anonymous.StatusCode);
        using var reader = await service.ClientOf(Roles.Reader).PostAsync("/api/v1/datasets", ServiceFixture.Form(Spec, ("d.csv", [1])));
        Assert.Equal(HttpStatusCode.Forbidden, reader.StatusCode);
        using var delete = await service.ClientOf(Roles.Reader).DeleteAsync($"/api/v1/datasets/{Guid.NewGuid()}");
        Assert.Equal(HttpStatusCode.Forbidden, delete.StatusCode);
        using var unknown = await service.Operator.GetAsync($"/api/v1/datasets/{Guid.NewGuid()}/profile");
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        using var state = await service.Operator.GetAsync("/api/v1/datasets?state=5");
        await AssertProblemAsync(state, "state", "must be queued");
    }

    [Fact]
    public async Task Job_FaultThatOnlyReadingFinds_FailsForGoodWithTheProblem()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<JobFailed>();
        var (id, jobId) = await service.UploadAsync("""{"name":"t","format":"csv","target":"y","columns":{"x":{"type":"numeric"}}}""", "x,y\n1,a\nsecret@example.org,b\n3,a\n");
        using var early = await service.Operator.GetAsync($"/api/v1/datasets/{id}/manifest");
        Assert.Equal(HttpStatusCode.Conflict, early.StatusCode);
        using var running = await service.Operator.DeleteAsync($"/api/v1/datasets/{id}");
        Assert.Equal(HttpStatusCode.Conflict, running.StatusCode);
        await ServiceFixture.RunAsync(bus, jobId, id);
        var failed = await bus.ReceiveAsync<JobFailed>(m => m.JobId == jobId);
        Assert.False(failed.Retryable);
        Assert.Contains("row 2, column 'x': is not a number", failed.Error);
        Assert.DoesNotContain("secret", failed.Error);
        var dataset = await ServiceFixture.EndAsync(service.Operator, id);
        Assert.Equal("failed", dataset.GetProperty("state").GetString());
        Assert.Equal("file", dataset.GetProperty("problem").GetProperty("field").GetString());
        await Eventually.True(() => !Directory.Exists(SpoolOf(id)));

        // Another attempt, as when the word of the first was lost, says the same though the upload is gone.
        var lease = Guid.NewGuid();
        await ServiceFixture.RunAsync(bus, jobId, id, attempt: 2, lease);
        var again = await bus.ReceiveAsync<JobFailed>(m => m.LeaseId == lease);
        Assert.Equal((failed.Error, false), (again.Error, again.Retryable));
        Assert.Equal(dataset.GetRawText(), (await ServiceFixture.GetAsync(service.Operator, $"/api/v1/datasets/{id}")).GetRawText());
        var list = await ServiceFixture.GetAsync(service.Operator, "/api/v1/datasets?limit=200&state=failed");
        Assert.Contains(id, list.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("id").GetGuid()));
    }

    [Fact]
    public async Task Job_OfferedTwice_EndsOnce()
    {
        await using var bus = await service.BusAsync();
        await bus.ListenAsync<DatasetPrepared>();
        await bus.ListenAsync<JobCompleted>();
        var (id, jobId) = await service.UploadAsync(Spec, Csv(2000));
        await ServiceFixture.RunAsync(bus, jobId, id, attempt: 2);
        await ServiceFixture.EndAsync(service.Operator, id);
        await ServiceFixture.RunAsync(bus, jobId, id, attempt: 1);
        // Offered again after its end, as when its word was lost, the job is told of once more.
        var repeat = Guid.NewGuid();
        await ServiceFixture.RunAsync(bus, jobId, id, attempt: 3, lease: repeat);
        // A later job is through, so the two other offers were looked at.
        var (next, nextJob) = await service.UploadAsync(Spec, Csv());
        await ServiceFixture.RunAsync(bus, nextJob, next);
        await bus.ReceiveAsync<JobCompleted>(m => m.JobId == nextJob, TimeSpan.FromSeconds(90));
        Assert.Single(bus.Received<DatasetPrepared>(), m => m.Message.DatasetId == id);
        Assert.Single(bus.Received<JobCompleted>(), m => m.Message.JobId == jobId && m.Message.LeaseId != repeat);
        Assert.Single(bus.Received<JobCompleted>(), m => m.Message.LeaseId == repeat);
        // The list tells as much of a dataset as its own page.
        var list = JsonElement.Parse(await service.Operator.GetStringAsync("/api/v1/datasets?limit=200&state=ready"));
        Assert.Equal(await service.Operator.GetStringAsync($"/api/v1/datasets/{id}"),
            list.GetProperty("items").EnumerateArray().Single(item => item.GetProperty("id").GetGuid() == id).GetRawText());
    }

    [Fact]
    public async Task JobEnded_CancelledInTheQueue_MarksTheDatasetAndDropsTheUpload()
    {
        await using var bus = await service.BusAsync();
        var (id, jobId) = await service.UploadAsync(Spec, Csv());
        await bus.PublishAsync(new JobEnded { JobId = jobId, Kind = JobKinds.Prepare, SubjectId = id, State = JobState.Cancelled });
        var dataset = await ServiceFixture.EndAsync(service.Operator, id);
        Assert.Equal("cancelled", dataset.GetProperty("state").GetString());
        await Eventually.True(() => !Directory.Exists(SpoolOf(id)));
    }

    [Fact]
    public async Task Job_WithPersonalData_LeavesNoneOfItAnywhere()
    {
        string[] secrets = ["grace.hopper", "078-05-1120", "4111111111111111", "555-867-5309"];
        await using var bus = await service.BusAsync();
        var rows = Enumerable.Range(0, 200).Select(i => $"{secrets[0]}{i}@example.org,{secrets[1]},{secrets[2]},{secrets[3]},{i % 9}.5,{(i % 2 == 0 ? "p" : "q")}\n");
        var (id, jobId) = await service.UploadAsync(Spec, "a,b,c,d,x,y\n" + string.Concat(rows));
        await ServiceFixture.RunAsync(bus, jobId, id);
        Assert.Equal("ready", (await ServiceFixture.EndAsync(service.Operator, id)).GetProperty("state").GetString());
        await Eventually.True(() => !Directory.Exists(SpoolOf(id)));
        var places = Directory.EnumerateFiles(service.DataFolder, "*", SearchOption.AllDirectories).Concat(Directory.EnumerateFiles(service.Peers.Blobs))
            .Select(f => (Name: f, Content: Unpacked(File.ReadAllBytes(f)))).ToList();
        places.Add(("database", await DumpAsync()));
        places.Add(("job log", JsonSerializer.SerializeToUtf8Bytes(service.Peers.Beats)));
        var logs = service.Logs.ToArray();
        Assert.Contains(logs, l => l.Contains($"Dataset {id} is ready"));
        places.Add(("log", Encoding.UTF8.GetBytes(string.Join('\n', logs))));
        Assert.True(places.Count > 9);
        foreach (var secret in secrets)
        {
            Assert.All(places, p => Assert.False(p.Content.AsSpan().IndexOf(Encoding.UTF8.GetBytes(secret)) >= 0, $"'{secret}' stands in {p.Name}"));
        }
    }

    [Fact]
    public async Task Formats_AllTables_GiveTheSameFeatures()
    {
        var rows = Enumerable.Range(0, 400).Select(i => (X: i % 37 + 0.25, Ok: i % 5 < 2, When: new DateTime(2020, 1, 1).AddHours(i * 31), City: "c" + (i % 4), Y: i % 3 == 0 ? "p" : "q")).ToList();
        var csv = "x,ok,when,city,y\n" + string.Concat(rows.Select(r => $"{r.X},{(r.Ok ? "true" : "false")},{r.When:yyyy-MM-ddTHH:mm:ss},{r.City},{r.Y}\n"));
        var jsonl = string.Concat(rows.Select(r => $$"""{"x":{{r.X}},"ok":{{(r.Ok ? "true" : "false")}},"when":"{{r.When:yyyy-MM-ddTHH:mm:ss}}Z","city":"{{r.City}}","y":"{{r.Y}}"}""" + "\n"));
        var parquet = TestParquet.FromCsv(csv, "x::DOUBLE AS x, ok::BOOLEAN AS ok, \"when\"::TIMESTAMP AS \"when\", city, y");
        await using var bus = await service.BusAsync();
        var manifests = new List<DatasetManifest>();
        foreach (var (format, content) in new[] { ("csv", Encoding.UTF8.GetBytes(csv)), ("jsonl", Encoding.UTF8.GetBytes(jsonl)), ("parquet", parquet) })
        {
            var (id, jobId) = await ServiceFixture.UploadAsync(service.Operator, $$"""{"name":"t","format":"{{format}}","target":"y"}""", ("data." + format, content));
            await ServiceFixture.RunAsync(bus, jobId, id);
            var dataset = await ServiceFixture.EndAsync(service.Operator, id);
            Assert.Equal("ready", dataset.GetProperty("state").GetString());
            manifests.Add(DatasetManifest.Parse(await service.Operator.GetByteArrayAsync($"/api/v1/datasets/{id}/manifest")));
        }
        Assert.Equal(2 + 5 + 5, manifests[0].FeatureShape[0]);
        Assert.All(manifests, m => Assert.Equal(manifests[0].Splits["train"].Shards[0].Sha256, m.Splits["train"].Shards[0].Sha256));
        Assert.All(manifests, m => Assert.Equal(manifests[0].Pipeline.Sha256, m.Pipeline.Sha256));
    }

    [Fact]
    public async Task Schema_OfTheMigration_IsTheModels() => await SchemaAssert.MatchesModel<PreprocessingDb>(Started());

    [Fact]
    public async Task OpenApi_DescribesTheUpload()
    {
        using var client = service.Anonymous();
        var document = await ServiceFixture.GetAsync(client, "/openapi/v1.json");
        var post = document.GetProperty("paths").GetProperty("/api/v1/datasets").GetProperty("post");
        Assert.True(post.GetProperty("requestBody").GetProperty("content").TryGetProperty("multipart/form-data", out _));
        Assert.True(post.GetProperty("responses").TryGetProperty("202", out _));
    }

    private IServiceProvider Started()
    {
        service.Start();
        return service.Services;
    }

    private string SpoolOf(Guid id) => Path.Combine(service.DataFolder, "preprocessing", "spool", id.ToString("N"));

    private static async Task AssertProblemAsync(HttpResponseMessage response, string field, string expected)
    {
        var body = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.BadRequest, $"{(int)response.StatusCode} {body}");
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        var errors = JsonDocument.Parse(body).RootElement.GetProperty("errors");
        Assert.True(errors.TryGetProperty(field, out var texts), body);
        Assert.Contains(expected, texts[0].GetString());
    }

    private static byte[] Unpacked(byte[] bytes)
    {
        if (bytes is not [0x1F, 0x8B, ..])
        {
            return bytes;
        }
        using var unpacked = new MemoryStream();
        using var gzip = new System.IO.Compression.GZipStream(new MemoryStream(bytes), System.IO.Compression.CompressionMode.Decompress);
        gzip.CopyTo(unpacked);
        return unpacked.ToArray();
    }

    private async Task<byte[]> DumpAsync()
    {
        await using var database = NpgsqlDataSource.Create(service.Database.ConnectionString);
        var dump = new StringBuilder();
        foreach (var table in new[] { "datasets", "outbox_messages", "inbox_messages" })
        {
            await using var command = database.CreateCommand($"select t::text from {table} t");
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                dump.AppendLine(reader.GetString(0));
            }
        }
        return Encoding.UTF8.GetBytes(dump.ToString());
    }
}
