using System.Net;
using System.Net.Http.Headers;
using System.Text;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

public sealed class BlobTests(RegistryFixture registry) : IClassFixture<RegistryFixture>
{
    private static readonly byte[] s_bytes = Encoding.ASCII.GetBytes("0123456789");

    [Fact]
    public async Task Put_BytesOfTheNamedHash_ComeBackUnchanged()
    {
        var sha256 = BlobHash.Of(s_bytes);

        using var put = await registry.PutAsync(sha256, s_bytes, "text/plain");
        using var again = await registry.PutAsync(sha256, s_bytes, "text/plain");
        using var get = await registry.Ann.GetAsync($"/api/v1/blobs/{sha256}");

        Assert.Contains(put.StatusCode, new[] { HttpStatusCode.Created, HttpStatusCode.OK });
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
        Assert.Equal(s_bytes, await get.Content.ReadAsByteArrayAsync());
        Assert.Equal($"\"{sha256}\"", get.Headers.ETag!.Tag);
        Assert.Equal("nosniff", get.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal("attachment", get.Content.Headers.ContentDisposition!.DispositionType);
    }

    [Fact]
    public async Task Put_EmptyBlob_IsStored()
    {
        var sha256 = await registry.UploadAsync([]);

        Assert.Empty(await registry.Ann.GetByteArrayAsync($"/api/v1/blobs/{sha256}"));
        // SHA-256 of nothing, from FIPS 180-4's test vectors.
        Assert.Equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sha256);
    }

    [Fact]
    public async Task Put_BytesOfAnotherHash_IsRefusedAndNothingIsKept()
    {
        var before = registry.BlobFilesOnDisk.Length;
        var named = new string('a', 64);

        using var response = await registry.PutAsync(named, "other"u8.ToArray());

        Assert.Equal(HttpStatusCode.UnprocessableEntity, response.StatusCode);
        Assert.Contains(BlobHash.Of("other"u8), await response.Content.ReadAsStringAsync());
        Assert.Equal(before, registry.BlobFilesOnDisk.Length);
        Assert.Equal(HttpStatusCode.NotFound, (await registry.Ann.GetAsync($"/api/v1/blobs/{named}")).StatusCode);
    }

    [Theory]
    [InlineData("ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789")]
    [InlineData("abc")]
    [InlineData("..%2F..%2F..%2Fetc%2Fpasswd")]
    public async Task Any_AddressThatIsNoHash_IsRefused(string address)
    {
        using var put = await registry.Ann.PutAsync($"/api/v1/blobs/{address}", new ByteArrayContent([1]));
        using var get = await registry.Ann.GetAsync($"/api/v1/blobs/{address}");

        Assert.Equal(HttpStatusCode.BadRequest, put.StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, get.StatusCode);
    }

    [Theory]
    [InlineData("bytes=0-0", "0", "bytes 0-0/10")]
    [InlineData("bytes=9-9", "9", "bytes 9-9/10")]
    [InlineData("bytes=-3", "789", "bytes 7-9/10")]
    [InlineData("bytes=4-", "456789", "bytes 4-9/10")]
    [InlineData("bytes=8-100", "89", "bytes 8-9/10")]
    public async Task Get_Range_IsThatPart(string range, string expected, string contentRange)
    {
        var sha256 = await registry.UploadAsync(s_bytes);

        using var response = await GetAsync(sha256, range);

        Assert.Equal(HttpStatusCode.PartialContent, response.StatusCode);
        Assert.Equal(expected, await response.Content.ReadAsStringAsync());
        Assert.Equal(contentRange, response.Content.Headers.GetValues("Content-Range").Single());
    }

    [Theory]
    [InlineData("bytes=10-")]
    [InlineData("bytes=99-100")]
    [InlineData("bytes=-0")]
    public async Task Get_RangeBehindTheEnd_IsNotSatisfiable(string range)
    {
        var sha256 = await registry.UploadAsync(s_bytes);

        using var response = await GetAsync(sha256, range);

        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, response.StatusCode);
        Assert.Equal("bytes */10", response.Content.Headers.GetValues("Content-Range").Single());
    }

    [Fact]
    public async Task Head_KnownBlob_TellsLengthWithoutBytes()
    {
        var sha256 = await registry.UploadAsync(s_bytes);

        using var response = await registry.Ann.SendAsync(new HttpRequestMessage(HttpMethod.Head, $"/api/v1/blobs/{sha256}"));

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(10, response.Content.Headers.ContentLength);
        Assert.Equal("bytes", response.Headers.AcceptRanges.Single());
    }

    [Fact]
    public async Task Get_WithItsETag_IsNotModified()
    {
        var sha256 = await registry.UploadAsync(s_bytes);
        var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/blobs/{sha256}") { Headers = { { "If-None-Match", $"\"{sha256}\"" } } };

        Assert.Equal(HttpStatusCode.NotModified, (await registry.Ann.SendAsync(request)).StatusCode);
    }

    [Fact]
    public async Task Put_SameBlobTwentyTimesAtOnce_IsStoredOnce()
    {
        var bytes = new byte[300_000];
        Random.Shared.NextBytes(bytes);
        var before = registry.BlobFilesOnDisk.Length;

        var responses = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => registry.PutAsync(BlobHash.Of(bytes), bytes)));

        Assert.Single(responses, r => r.StatusCode == HttpStatusCode.Created);
        Assert.Equal(19, responses.Count(r => r.StatusCode == HttpStatusCode.OK));
        Assert.Equal(before + 1, registry.BlobFilesOnDisk.Length);
    }

    [Fact]
    public async Task Put_SenderGoesAwayMidway_LeavesNothing()
    {
        var before = registry.BlobFilesOnDisk.Length;
        var started = new TaskCompletionSource();
        using var cancel = new CancellationTokenSource();
        using var content = new StallingContent(started);

        var put = registry.Ann.PutAsync($"/api/v1/blobs/{new string('b', 64)}", content, cancel.Token);
        await started.Task.WaitAsync(Eventually.Deadline);
        await Eventually.True(() => registry.BlobFilesOnDisk.Length == before + 1);
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => put);
        await Eventually.True(() => registry.BlobFilesOnDisk.Length == before);
    }

    [Fact]
    public async Task Put_WithoutTheRole_IsForbidden()
    {
        using var reader = await registry.ClientOf(Roles.Reader).PutAsync($"/api/v1/blobs/{BlobHash.Of([1])}", new ByteArrayContent([1]));
        using var nobody = await registry.Anonymous().GetAsync($"/api/v1/blobs/{BlobHash.Of([1])}");

        Assert.Equal(HttpStatusCode.Forbidden, reader.StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, nobody.StatusCode);
    }

    private Task<HttpResponseMessage> GetAsync(string sha256, string range)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/blobs/{sha256}");
        request.Headers.Range = RangeHeaderValue.Parse(range);
        return registry.Ann.SendAsync(request);
    }
}

/// <summary>A body that sends 200 kB and then nothing more until it is cancelled.</summary>
internal sealed class StallingContent(TaskCompletionSource started) : HttpContent
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, default);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        await stream.WriteAsync(new byte[200_000], cancellationToken);
        await stream.FlushAsync(cancellationToken);
        started.TrySetResult();
        await Task.Delay(Timeout.Infinite, cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}
