using System.Diagnostics;
using System.Net;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

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
    public async Task Put_DiskFillsUpInTheMiddle_IsInsufficientStorageAndNothingIsKept()
    {
        using var disk = SmallDisk.Mount(megabytes: 2);
        Assert.SkipWhen(disk is null, "Needs root to mount a file system of its own.");
        _registry.With("Registry:BlobDirectory", disk.Path);
        var small = new byte[500_000];
        var large = new byte[4_000_000];
        using var content = new StreamContent(new UnseekableStream(large)); // of no announced length

        using var refused = await _registry.Ann.PutAsync($"/api/v1/blobs/{BlobHash.Of(large)}", content);
        using var stored = await _registry.PutAsync(BlobHash.Of(small), small);

        Assert.Equal(HttpStatusCode.InsufficientStorage, refused.StatusCode);
        Assert.Equal(HttpStatusCode.Created, stored.StatusCode);
        Assert.Equal([BlobHash.Of(small)], Directory.EnumerateFiles(disk.Path, "*", SearchOption.AllDirectories).Select(Path.GetFileName).Where(BlobRef.IsSha256));
    }

    [Fact]
    public async Task Start_WithAnUploadLeftBehind_SweepsIt()
    {
        var incoming = Directory.CreateDirectory(Path.Combine(_registry.BlobFolder, "incoming")).FullName;
        await File.WriteAllTextAsync(Path.Combine(incoming, "left"), "half a blob");

        await _registry.UploadAsync("whole");

        Assert.Equal(5, _registry.BytesOnDisk);
    }

    /// <summary>A file system in memory of a few megabytes.</summary>
    private sealed class SmallDisk : IDisposable
    {
        private readonly TestFolder _folder = new();

        public string Path => _folder.Path;

        public static SmallDisk? Mount(int megabytes)
        {
            var disk = new SmallDisk();
            if (Run("mount", "-t", "tmpfs", "-o", $"size={megabytes}m", "tmpfs", disk.Path))
                return disk;
            disk._folder.Dispose();
            return null;
        }

        public void Dispose()
        {
            Run("umount", "--lazy", Path);
            _folder.Dispose();
        }

        private static bool Run(string command, params string[] arguments)
        {
            if (!OperatingSystem.IsLinux())
                return false;
            using var process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode == 0;
        }
    }

    private sealed class UnseekableStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }
}
