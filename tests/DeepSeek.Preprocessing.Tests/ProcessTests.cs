using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>What only the real process shows: what a kill leaves, and how much memory a large table takes.</summary>
public sealed class ProcessTests : IAsyncLifetime
{
    private readonly ServiceFixture _resources = new(); // its database, broker, folder and peers; never started in this process

    private const string Spec = """{"name":"big","format":"csv","target":"y","split":{"train":0.7,"validation":0.1,"test":0.2}}""";
    private const string MegabytesVariable = "DEEPSEEK_TEST_BIG_CSV_MB";

    private string Spool => Path.Combine(_resources.DataFolder, "preprocessing", "spool");
    private string Scratch => Path.Combine(_resources.DataFolder, "preprocessing", "scratch");

    public ValueTask InitializeAsync() => _resources.InitializeAsync();

    public ValueTask DisposeAsync() => _resources.DisposeAsync();

    [Fact]
    public async Task Kill_InTheMiddleOfTheJob_RunsAgainToTheSameResultAndLeavesNothing()
    {
        await using var service = _resources.AsProcess("DeepSeek.Preprocessing");
        await service.StartAsync();
        await using var bus = await _resources.BusAsync();
        await bus.ListenAsync<DatasetPrepared>();
        await bus.ListenAsync<JobCompleted>();
        using var client = service.ClientOf(Roles.Operator);
        client.Timeout = TimeSpan.FromMinutes(10);
        var content = new MemoryStream();
        BigCsv.Write(content, 20 << 20);
        var (id, jobId) = await ServiceFixture.UploadAsync(client, Spec, ("big.csv", content.ToArray()));
        _resources.Peers.Gate = new TaskCompletionSource();
        await ServiceFixture.RunAsync(bus, jobId, id);
        await Eventually.True(() => _resources.Peers.Uploads > 0, TimeSpan.FromSeconds(120), "the job is in its middle");
        Assert.NotEmpty(Directory.EnumerateDirectories(Scratch));
        await service.KillAsync();
        _resources.Peers.Gate = null;
        Directory.CreateDirectory(Path.Combine(Spool, Guid.NewGuid().ToString("N")));
        Assert.NotEmpty(Directory.EnumerateDirectories(Scratch));

        await service.StartAsync();
        Assert.Empty(Directory.EnumerateDirectories(Scratch));
        Assert.Equal([id.ToString("N")], Directory.EnumerateDirectories(Spool).Select(Path.GetFileName));
        Assert.Equal("running", (await ServiceFixture.GetAsync(client, $"/api/v1/datasets/{id}")).GetProperty("state").GetString());
        await ServiceFixture.RunAsync(bus, jobId, id, attempt: 2);
        var dataset = await ServiceFixture.EndAsync(client, id, TimeSpan.FromMinutes(4));
        Assert.Equal("ready", dataset.GetProperty("state").GetString());
        await bus.ReceiveAsync<JobCompleted>(m => m.JobId == jobId);
        Assert.Single(bus.Received<DatasetPrepared>());
        await Eventually.True(() => !Directory.EnumerateFileSystemEntries(Spool).Any() && !Directory.EnumerateFileSystemEntries(Scratch).Any());
    }

    /// <summary>64 MB by default, as a table of 5 GB takes the same memory: it depends on the columns. Set the variable to try larger ones.</summary>
    [Fact]
    public async Task LargeTable_StaysBelowOneGigabyteResident()
    {
        var megabytes = int.Parse(Environment.GetEnvironmentVariable(MegabytesVariable) ?? "64", CultureInfo.InvariantCulture);
        await using var service = _resources.AsProcess("DeepSeek.Preprocessing");
        await service.StartAsync();
        await using var bus = await _resources.BusAsync();
        using var client = service.ClientOf(Roles.Operator);
        client.Timeout = Timeout.InfiniteTimeSpan;
        var clock = System.Diagnostics.Stopwatch.StartNew();
        using var form = ServiceFixture.Form(Spec);
        var file = new BigCsv.Content((long)megabytes << 20);
        file.Headers.ContentDisposition = new ContentDispositionHeaderValue("form-data") { Name = "file", FileName = "big.csv" };
        form.Add(file);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/datasets") { Content = form };
        request.Headers.TransferEncodingChunked = true;
        using var response = await client.SendAsync(request);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        var uploaded = (clock.Elapsed, Cpu: service.ProcessorTime);
        var accepted = System.Text.Json.JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement;
        var id = accepted.GetProperty("id").GetGuid();
        await ServiceFixture.RunAsync(bus, accepted.GetProperty("jobId").GetGuid(), id);
        var dataset = await ServiceFixture.EndAsync(client, id, TimeSpan.FromMinutes(5) + TimeSpan.FromSeconds(megabytes / 2.0));
        Assert.Equal("ready", dataset.GetProperty("state").GetString());
        TestContext.Current.TestOutputHelper?.WriteLine($"{megabytes} MB, {dataset.GetProperty("rows")} rows: upload {uploaded.Elapsed.TotalSeconds:F1} s ({uploaded.Cpu.TotalSeconds:F1} s of processor), job {(clock.Elapsed - uploaded.Elapsed).TotalSeconds:F1} s ({(service.ProcessorTime - uploaded.Cpu).TotalSeconds:F1} s), peak {service.PeakBytes / 1048576.0:F0} MiB");
        Assert.InRange(service.PeakBytes, 0, 1L << 30);
    }
}

/// <summary>A table as large as wanted: eight numbers, a category, a date, a flag, free text, a class; about 150 bytes a row.</summary>
internal static class BigCsv
{
    public static void Write(Stream output, long bytes)
    {
        var random = new SeededRandom(1, "big");
        var block = new StringBuilder("a,b,c,d,e,f,g,h,city,seen,member,comment,y\n");
        for (long written = 0; written < bytes;)
        {
            for (var row = 0; row < 1000; row++)
            {
                for (var column = 0; column < 8; column++)
                {
                    block.Append((random.Next(2_000_000) - 1_000_000) / 1000.0).Append(',');
                }
                block.Append("city").Append(random.Next(40)).Append(',')
                    .Append(DateTime.UnixEpoch.AddSeconds(random.Next(1_700_000_000)).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture)).Append(',')
                    .Append(random.Next(2) == 0 ? "yes" : "no").Append(",\"note ").Append(random.Next(1L << 40)).Append(", of some length\",")
                    .Append(random.Next(3) == 0 ? "p" : "q").Append('\n');
            }
            var piece = Encoding.UTF8.GetBytes(block.ToString());
            output.Write(piece);
            written += piece.Length;
            block.Clear();
        }
    }

    /// <summary>Made while it is sent.</summary>
    internal sealed class Content(long bytes) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context) => Task.Run(() => Write(stream, bytes));

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
