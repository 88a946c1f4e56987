using System.Net;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Tests;

public sealed class BlobLimitTests : IAsyncLifetime
{
    private readonly RegistryFixture _registry = new();

    public ValueTask InitializeAsync() => _registry.InitializeAsync();

    public ValueTask DisposeAsync() => _registry.DisposeAsync();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Put_LargerThanTheLimit_IsRefusedAndNothingIsKept(bool announced)
    {
        _registry.With("Registry:MaxBlobBytes", "1000");
        var bytes = new byte[1001];
        using HttpContent content = announced ? new ByteArrayContent(bytes) : new StreamContent(new UnseekableStream(bytes));

        using var response = await _registry.Ann.PutAsync($"/api/v1/blobs/{BlobHash.Of(bytes)}", content);
        using var largest = await _registry.PutAsync(BlobHash.Of(bytes.AsSpan(0, 1000)), bytes[..1000]);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        Assert.Contains("1000 bytes", await response.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.Created, largest.StatusCode);
        Assert.Equal(1000, _registry.BytesOnDisk);
    }

    [Fact]
    public async Task Put_DiskHasNoRoom_IsInsufficientStorageAndNothingIsKept()
    {
        _registry.With("Registry:ReserveBytes", (long.MaxValue / 2).ToString());

        using var response = await _registry.PutAsync(BlobHash.Of([1]), [1]);

        Assert.Equal(HttpStatusCode.InsufficientStorage, response.StatusCode);
        Assert.Contains("gc", await response.Content.ReadAsStringAsync());
        Assert.Empty(_registry.BlobFilesOnDisk);
    }

    [Fact]
    public async Task Start_WithAnUploadLeftBehind_SweepsIt()
    {
        var incoming = Directory.CreateDirectory(Path.Combine(_registry.BlobFolder, "incoming")).FullName;
        await File.WriteAllTextAsync(Path.Combine(incoming, "left"), "half a blob");

        await _registry.UploadAsync("whole");

        Assert.Equal(5, _registry.BytesOnDisk);
    }

    private sealed class UnseekableStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }
}
