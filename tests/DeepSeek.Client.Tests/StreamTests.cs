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
