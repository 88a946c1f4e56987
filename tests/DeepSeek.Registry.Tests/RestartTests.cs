using System.Net;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

/// <summary>The registry as a process of its own, killed while bytes are coming in.</summary>
public sealed class RestartTests : IAsyncLifetime
{
    private readonly RegistryFixture _resources = new(); // its database, broker and folder; never started in this process
    private ServiceProcess _service = null!;

    public async ValueTask InitializeAsync()
    {
        await _resources.InitializeAsync();
        _service = _resources.AsProcess("DeepSeek.Registry");
        await _service.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _service.DisposeAsync();
        await _resources.DisposeAsync();
    }

    [Fact]
    public async Task Kill9_InTheMiddleOfAnUpload_LeavesNoPartialBlobAndLosesNoWholeOne()
    {
        var whole = "a whole blob"u8.ToArray();
        using var client = _service.ClientOf(Roles.Operator, "ann");
        (await client.PutAsync($"/api/v1/blobs/{BlobHash.Of(whole)}", new ByteArrayContent(whole))).EnsureSuccessStatusCode();

        var started = new TaskCompletionSource();
        using var content = new StallingContent(started);
        using var gone = new CancellationTokenSource();
        var upload = client.PutAsync($"/api/v1/blobs/{new string('a', 64)}", content, gone.Token);
        await started.Task.WaitAsync(Eventually.Deadline);
        await Eventually.True(() => _resources.BlobFilesOnDisk.Length == 2);
        await _service.KillAsync();
        await gone.CancelAsync(); // a client in the middle of its body does not see that the server has gone
        await Assert.ThrowsAnyAsync<Exception>(() => upload);
        await _service.StartAsync();

        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync($"/api/v1/blobs/{new string('a', 64)}")).StatusCode);
        Assert.Equal(whole, await client.GetByteArrayAsync($"/api/v1/blobs/{BlobHash.Of(whole)}"));
        Assert.Single(_resources.BlobFilesOnDisk);
        Assert.Contains("\"valid\":true", await client.GetStringAsync("/api/v1/audit/verify"));
    }
}
