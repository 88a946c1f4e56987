using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Client.Tests;

public sealed class StreamTests
{
    private static readonly Guid s_job = Guid.NewGuid();

    [Fact]
    public async Task Watch_StreamBreaks_GoesOnAfterTheLastEvent()
    {
        var streams = new Queue<Func<HttpContext, Task>>(
        [
            ScriptedGateway.Events("event: state\nid: 1\ndata: {\"state\":\"running\"}\n\nevent: progress\nid: 2\ndata: {\"progress\":0.5}\n\nevent: progr"),
            ScriptedGateway.Break,
            ScriptedGateway.Events(":\n\nevent: state\nid: 3\ndata: {\"state\":\"succeeded\"}\n\n"),
        ]);
        await using var gateway = await ScriptedGateway.StartAsync([.. Enumerable.Repeat<Func<HttpContext, Task>>(
            http => IsEvents(http.Request.Path) ? streams.Dequeue()(http) : JobIn(streams.Count > 0 ? "running" : "succeeded")(http), 20)]);

        var events = await gateway.Client.Jobs.WatchAsync(s_job, TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken);

        Assert.Equal([("1", "state"), ("2", "progress"), ("3", "state")], events.Select(e => (e.Id!, e.Type)));
        Assert.Equal(0.5, events[1].Data.GetProperty("progress").GetDouble());
        Assert.Equal([null, "2", "2"], gateway.Requests.Where(r => IsEvents(r.Path)).Select(r => r.Header("Last-Event-ID")));
    }

    [Fact]
    public async Task Watch_JobNotYetKnown_WaitsForIt()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Status(404), ScriptedGateway.Status(404),
            ScriptedGateway.Events("event: state\nid: 1\ndata: {}\n\n"), JobIn("failed"));

        Assert.Single(await gateway.Client.Jobs.WatchAsync(s_job, TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Wait_TellingOfProgress_ReadsTheJobOnlyWhereEventsDoNotTell()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Events(string.Join("\n\n",
                "event: state\nid: 1\ndata: {\"state\":\"queued\",\"attempt\":0}",
                "event: state\nid: 2\ndata: {\"state\":\"running\",\"attempt\":1,\"priority\":70}",
                "event: progress\nid: 3\ndata: {\"progress\":0.25,\"message\":\"epoch 1\"}",
                "event: log\nid: 4\ndata: {\"line\":\"hello\"}",
                "event: state\nid: 5\ndata: {\"state\":\"queued\",\"attempt\":1}",
                "event: state\nid: 6\ndata: {\"state\":\"running\",\"attempt\":2}",
                "event: progress\nid: 7\ndata: {\"progress\":0.5,\"message\":\"epoch 2\"}",
                "event: state\nid: 8\ndata: {\"state\":\"succeeded\",\"attempt\":2,\"result\":\"/r\"}\n\n")),
            ScriptedGateway.Json(new { id = s_job, name = "j", state = "queued", waitingFor = "a slot" }),
            ScriptedGateway.Json(new { id = s_job, name = "j", state = "queued", waitingFor = "its retry", progress = 0.25 }),
            JobIn("succeeded"), JobIn("succeeded"));
        var told = new List<Job>();

        var ended = await gateway.Client.Jobs.WaitAsync(s_job, told.Add, TestContext.Current.CancellationToken);

        Assert.True(ended.Succeeded);
        Assert.Equal(["queued", "running", "running", "running", "queued", "running", "running", "succeeded"], told.Select(job => job.State));
        Assert.Equal(["a slot", "its retry"], told.Where(job => job.State == "queued").Select(job => job.WaitingFor));
        Assert.Equal((1, 70, 0.25, "epoch 1", "j"), (told[2].Attempt, told[2].Priority, told[2].Progress, told[2].Message, told[2].Name));
        Assert.Equal((2, 0.5, "/r"), (told[7].Attempt, told[7].Progress, told[7].Result));
        // The stream; the job at its start, queued again, once the stream has ended, and for the result.
        Assert.Equal(5, gateway.Requests.Count);
    }

    [Fact]
    public async Task WaitForSource_ModelNotYetKnown_WaitsForItsVersion()
    {
        var run = Guid.NewGuid();
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Status(404),
            ScriptedGateway.Json(new { items = new[] { new { version = 1, sourceId = Guid.NewGuid() } } }),
            ScriptedGateway.Json(new { items = new[] { new { version = 2, sourceId = run } } }));

        Assert.Equal(2, (await gateway.Client.Models.WaitForSourceAsync("m", run, cancellationToken: TestContext.Current.CancellationToken)).Version);
    }

    [Fact]
    public async Task WaitForSource_NeverRegistered_TellsSo()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Json(new { items = Array.Empty<object>() }));

        await Assert.ThrowsAsync<TimeoutException>(() =>
            gateway.Client.Models.WaitForSourceAsync("m", Guid.NewGuid(), TimeSpan.Zero, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task DeploymentWait_WhileReplicasDiffer_WaitsForTheLast()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Json(new { name = "d", state = "rolling", targetVersion = 2 }),
            ScriptedGateway.Json(new { name = "d", state = "ready", targetVersion = 2, replicas = new[] { new { replica = "a", versions = new[] { new { version = 2, state = "ready" } } } } }));

        var deployment = await gateway.Client.Deployments.WaitAsync("d", TestContext.Current.CancellationToken);

        Assert.Equal(("ready", 2, 2), (deployment.State, deployment.TargetVersion, deployment.Replicas.Single().Versions.Single().Version));
        Assert.Equal(2, gateway.Requests.Count);
    }

    [Fact]
    public async Task TextStream_Parts_ComeOneByOneAndEndWithTheReply()
    {
        var read = new TaskCompletionSource();
        await using var gateway = await ScriptedGateway.StartAsync(async http =>
        {
            http.Response.ContentType = "text/event-stream";
            await http.Response.WriteAsync("data: {\"text\":\"ç\"}\n\n");
            await http.Response.Body.FlushAsync();
            await read.Task;
            await http.Response.WriteAsync("data: {\"text\":\"a\"}\n\ndata: {\"text\":\"\uFFFD\",\"finishReason\":\"length\",\"tokens\":4,\"seed\":7,\"model\":\"m\",\"version\":2}\n\ndata: [DONE]\n\n");
        });

        var parts = new List<GenerationPart>();
        await foreach (var part in gateway.Client.Deployments.StreamAsync("d", new GenerationSpec { Prompt = "p", MaxTokens = 4 }, TestContext.Current.CancellationToken))
        {
            parts.Add(part);
            read.TrySetResult();
        }

        Assert.Equal(["ç", "a", "\uFFFD"], parts.Select(p => p.Text));
        Assert.All(parts.Take(2), p => Assert.Null(p.Reply));
        Assert.Equal(("ça\uFFFD", 4, "length", 7, "m", 2), (parts[2].Reply!.Text, parts[2].Reply!.Tokens, parts[2].Reply!.FinishReason, parts[2].Reply!.Seed, parts[2].Reply!.Model, parts[2].Reply!.Version));
        var asked = Encoding.UTF8.GetString(gateway.Requests.Single().Body);
        Assert.Contains("\"stream\":true", asked, StringComparison.Ordinal);
        Assert.Contains("\"maxTokens\":4", asked, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("data: {\"text\":\"a\"}\n\n", typeof(IOException), "ended before")]
    [InlineData("data: {\"text\":\"a\"}\n\ndata: {\"error\":{\"status\":500,\"message\":\"no numbers\"}}\n\n", typeof(DeepSeekApiException), "no numbers")]
    public async Task TextStream_ThatBreaksOff_IsAFaultAndNotRepeated(string events, Type fault, string words)
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Events(events));

        var thrown = await Record.ExceptionAsync(async () => await gateway.Client.Deployments.StreamAsync("d", new GenerationSpec(), TestContext.Current.CancellationToken).ToListAsync());

        Assert.IsType(fault, thrown);
        Assert.Contains(words, thrown.Message, StringComparison.Ordinal);
        Assert.Single(gateway.Requests);
    }

    [Fact]
    public async Task Logs_SeveralPages_AreOneText()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Json(new { items = new[] { new { seq = 1, at = DateTimeOffset.UnixEpoch, line = "one" } }, next = "n" }),
            ScriptedGateway.Json(new { items = new[] { new { seq = 2, at = DateTimeOffset.UnixEpoch, line = "two" } } }));

        Assert.Equal($"one{Environment.NewLine}two{Environment.NewLine}", await gateway.Client.Jobs.GetLogsAsync(s_job, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Download_ConnectionBreaks_AsksForTheRest()
    {
        var bytes = RandomNumberGenerator.GetBytes(200_000);
        var (folder, sha256) = (Directory.CreateTempSubdirectory(), Convert.ToHexStringLower(SHA256.HashData(bytes)));
        await using var gateway = await ScriptedGateway.StartAsync(
            async http =>
            {
                http.Response.ContentLength = bytes.Length;
                await http.Response.Body.WriteAsync(bytes.AsMemory(0, 150_000));
                await http.Response.Body.FlushAsync();
                http.Abort();
            },
            async http =>
            {
                var from = http.Request.GetTypedHeaders().Range is { } range ? (int)range.Ranges.Single().From! : 0;
                http.Response.StatusCode = from > 0 ? 206 : 200;
                await http.Response.Body.WriteAsync(bytes.AsMemory(from));
            });
        var path = Path.Combine(folder.FullName, "blob");

        await gateway.Client.Blobs.DownloadAsync(sha256, path, TestContext.Current.CancellationToken);

        Assert.Equal(bytes, await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken));
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Download_OtherBytes_AreRefusedAndNotLeftBehind()
    {
        var folder = Directory.CreateTempSubdirectory();
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Json("other bytes"));

        var fault = await Assert.ThrowsAsync<InvalidDataException>(() =>
            gateway.Client.Blobs.DownloadAsync(new string('a', 64), Path.Combine(folder.FullName, "blob"), TestContext.Current.CancellationToken));

        Assert.Contains("damaged", fault.Message);
        Assert.Empty(folder.EnumerateFiles());
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Upload_Repeated_IsTheSameRequestToTheLastByte()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Status(503, "0"), ScriptedGateway.Json(new { id = s_job, jobId = s_job, state = "queued" }, 202));
        var sent = new List<long>();

        var dataset = await gateway.Client.Datasets.CreateAsync(
            new DatasetSpec { Name = "d", Format = "csv", Target = "y" },
            [new UploadFile("d.csv", () => new MemoryStream(Encoding.UTF8.GetBytes("x,y\n1,2\n")))], new Told(sent), TestContext.Current.CancellationToken);

        var asked = gateway.Requests.ToArray();
        Assert.Equal(s_job, dataset.Id);
        Assert.Equal(asked[0].Body, asked[1].Body);
        Assert.Equal(asked[0].Header("Content-Type"), asked[1].Header("Content-Type"));
        Assert.Equal(asked[0].Header("Idempotency-Key"), asked[1].Header("Idempotency-Key"));
        Assert.Contains("""{"name":"d","format":"csv","target":"y"}""", Encoding.UTF8.GetString(asked[0].Body));
        Assert.Equal(8, sent[^1]);
    }

    private static bool IsEvents(string? path) => path!.EndsWith("/events", StringComparison.Ordinal);

    private static Func<HttpContext, Task> JobIn(string state) => ScriptedGateway.Json(new { id = s_job, kind = "train", state });

    private sealed class Told(List<long> sent) : IProgress<long>
    {
        public void Report(long value) => sent.Add(value);
    }
}
