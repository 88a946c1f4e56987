using System.Collections.Concurrent;
using System.Net;
using System.Text;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Registry.Tests;

/// <summary>The blob client of ServiceDefaults against the real registry, behind a relay that counts and breaks.</summary>
public sealed class BlobClientTests(BlobClientTests.Fixture fixture) : IClassFixture<BlobClientTests.Fixture>
{
    [Fact]
    public async Task Upload_Then_Fetch_GivesTheSameBytes()
    {
        await using var user = fixture.NewUser();

        var stream = await user.Blobs.UploadAsync(new MemoryStream("from a stream"u8.ToArray()), "text/plain");
        await File.WriteAllTextAsync(Path.Combine(user.Folder.Path, "file"), "from a file");
        var file = await user.Blobs.UploadAsync(Path.Combine(user.Folder.Path, "file"));

        Assert.Equal(new BlobRef(BlobHash.Of("from a stream"u8), 13, "text/plain"), stream);
        Assert.Equal("from a file", Encoding.UTF8.GetString(await user.Blobs.ReadAsync(file.Sha256)));
        await user.Blobs.DownloadAsync(stream.Sha256, Path.Combine(user.Folder.Path, "copy"));
        Assert.Equal("from a stream", await File.ReadAllTextAsync(Path.Combine(user.Folder.Path, "copy")));
    }

    [Fact]
    public async Task Upload_BlobThatIsThere_IsNotSent()
    {
        await using var user = fixture.NewUser();
        var blob = await user.Blobs.UploadAsync("sent once"u8.ToArray());
        await user.Blobs.UploadAsync("sent once"u8.ToArray());

        Assert.Equal(1, fixture.Count($"PUT {blob.Sha256}"));
    }

    [Fact]
    public async Task Fetch_TwentyAtOnce_DownloadsOnce()
    {
        await using var user = fixture.NewUser();
        var sha256 = await fixture.Registry.UploadAsync(new byte[500_000]);

        var paths = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => user.Blobs.FetchAsync(sha256)));

        Assert.Single(paths.Distinct());
        Assert.Equal(1, fixture.Count($"GET {sha256}"));
    }

    [Fact]
    public async Task Fetch_ConnectionBreaksTwice_GoesOnWhereItStopped()
    {
        await using var user = fixture.NewUser();
        var bytes = new byte[900_000];
        new Random(1).NextBytes(bytes);
        var sha256 = await fixture.Registry.UploadAsync(bytes);
        fixture.BreakAfter[sha256] = new Queue<int>([300_000, 300_000]);

        Assert.Equal(bytes, await File.ReadAllBytesAsync(await user.Blobs.FetchAsync(sha256)));
        Assert.Equal(3, fixture.Count($"GET {sha256}"));
        // Starting anew each time would make it 300 + 300 + 900 kB; what the broken connection still had under way is sent again.
        Assert.InRange(fixture.Relayed(sha256), bytes.Length, 1_499_999);
    }

    [Fact]
    public async Task Fetch_CachedFileDamagedOnDisk_IsFetchedAgain()
    {
        var sha256 = await fixture.Registry.UploadAsync("precious bytes");
        await using var first = fixture.NewUser();
        var path = await first.Blobs.FetchAsync(sha256);
        await File.WriteAllTextAsync(path, "damaged  bytes");
        await using var restarted = fixture.NewUser(first.Folder.Path);

        Assert.Equal("precious bytes", await File.ReadAllTextAsync(await restarted.Blobs.FetchAsync(sha256)));
    }

    [Fact]
    public async Task Fetch_ServerSendsOtherBytes_IsRefusedAndNotCached()
    {
        await using var user = fixture.NewUser();
        var sha256 = await fixture.Registry.UploadAsync("true bytes");
        fixture.Corrupt.Add(sha256);

        await Assert.ThrowsAsync<BlobCorruptException>(() => user.Blobs.FetchAsync(sha256));

        Assert.Empty(Directory.EnumerateFiles(user.Folder.Path));
    }

    [Fact]
    public async Task Fetch_UnknownBlob_SaysSo()
    {
        await using var user = fixture.NewUser();

        var fault = await Assert.ThrowsAsync<BlobNotFoundException>(() => user.Blobs.FetchAsync(new string('e', 64)));

        Assert.Equal(new string('e', 64), fault.Sha256);
        await Assert.ThrowsAsync<ArgumentException>(() => user.Blobs.FetchAsync("../../etc/passwd"));
    }

    [Fact]
    public async Task Cache_Full_DropsTheLeastRecentlyUsed()
    {
        await using var user = fixture.NewUser(bytes: 1 << 20);
        var blobs = new List<string>();
        for (var i = 0; i < 3; i++)
            blobs.Add(await fixture.Registry.UploadAsync([.. Enumerable.Repeat((byte)(i + 1), 400_000)]));

        await user.Blobs.FetchAsync(blobs[0]);
        await user.Blobs.FetchAsync(blobs[1]);
        await user.Blobs.FetchAsync(blobs[0]); // now blob 1 is the oldest
        await user.Blobs.FetchAsync(blobs[2]);

        var cached = Directory.EnumerateFiles(user.Folder.Path).Select(Path.GetFileName).ToHashSet();
        Assert.Equal(new HashSet<string?> { blobs[0], blobs[2] }, cached);
        Assert.Equal(400_000, new FileInfo(await user.Blobs.FetchAsync(blobs[1])).Length);
    }

    /// <summary>A service that uses blobs.</summary>
    public sealed class User(WebApplication app, TestFolder folder) : IAsyncDisposable
    {
        public BlobClient Blobs { get; } = app.Services.GetRequiredService<BlobClient>();

        public TestFolder Folder { get; } = folder;

        public async ValueTask DisposeAsync()
        {
            await app.DisposeAsync();
            if (Directory.Exists(Folder.Path))
                Folder.Dispose();
        }
    }

    public sealed class Fixture : IAsyncLifetime
    {
        private readonly ConcurrentDictionary<string, int> _counts = new();
        private readonly ConcurrentDictionary<string, long> _relayed = new();
        private StubServer? _relay;

        public RegistryFixture Registry { get; } = new();

        /// <summary>Bytes after which the relay breaks the connection, per download.</summary>
        public ConcurrentDictionary<string, Queue<int>> BreakAfter { get; } = new();

        /// <summary>Blobs whose first byte the relay changes.</summary>
        public ConcurrentBag<string> Corrupt { get; } = [];

        public int Count(string what) => _counts.GetValueOrDefault(what);

        public long Relayed(string sha256) => _relayed.GetValueOrDefault(sha256);

        public async ValueTask InitializeAsync()
        {
            await Registry.InitializeAsync();
            var http = new HttpClient { BaseAddress = Registry.Address };
            _relay = await StubServer.StartAsync(server => server.Run(context => RelayAsync(http, context)));
        }

        public async ValueTask DisposeAsync()
        {
            await _relay!.DisposeAsync();
            await Registry.DisposeAsync();
        }

        public User NewUser(string? folder = null, long bytes = 1L << 30)
        {
            var cache = new TestFolder();
            var builder = WebApplication.CreateBuilder();
            builder.Logging.ClearProviders();
            builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
            {
                ["services:registry:http:0"] = _relay!.Address.AbsoluteUri,
                ["Identity:SigningKey"] = TestIdentity.SigningKey,
                ["Blobs:CacheDirectory"] = folder ?? cache.Path,
                ["Blobs:CacheBytes"] = bytes.ToString(),
                ["Blobs:CacheKeep"] = "00:00:00",
                ["Blobs:FirstBackoff"] = "00:00:00.010",
                [DataDirectories.Variable] = cache.Path,
            });
            builder.AddServiceDefaults("tester");
            builder.AddBlobStore();
            return new User(builder.Build(), cache);
        }

        private async Task RelayAsync(HttpClient http, HttpContext context)
        {
            var sha256 = context.Request.Path.Value!.Split('/')[^1];
            _counts.AddOrUpdate($"{context.Request.Method} {sha256}", 1, (_, n) => n + 1);
            using var request = new HttpRequestMessage(new HttpMethod(context.Request.Method), context.Request.Path);
            if (context.Request.Method == HttpMethods.Put)
                request.Content = new StreamContent(context.Request.Body);
            foreach (var (name, value) in context.Request.Headers.Where(h => h.Key is "Range" or "Content-Type" || h.Key.StartsWith("X-DeepSeek", StringComparison.Ordinal)))
            {
                if (!request.Headers.TryAddWithoutValidation(name, value.ToArray()))
                    request.Content?.Headers.TryAddWithoutValidation(name, value.ToArray());
            }

            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, context.RequestAborted);
            context.Response.StatusCode = (int)response.StatusCode;
            context.Response.ContentLength = response.Content.Headers.ContentLength;
            if (response.Content.Headers.ContentRange is { } range)
                context.Response.Headers.ContentRange = range.ToString();
            if (context.Request.Method != HttpMethods.Get)
                return;
            var bytes = await response.Content.ReadAsByteArrayAsync();
            if (Corrupt.Contains(sha256))
                bytes[0] ^= 1;
            var breaks = BreakAfter.TryGetValue(sha256, out var queue) && queue.TryDequeue(out var after) ? after : bytes.Length;
            // Counted before it is sent: the user may have the last byte, and ask, before the flush returns here.
            _relayed.AddOrUpdate(sha256, breaks, (_, n) => n + breaks);
            await context.Response.Body.WriteAsync(bytes.AsMemory(0, breaks));
            await context.Response.Body.FlushAsync();
            if (breaks < bytes.Length)
                context.Abort();
        }
    }
}
