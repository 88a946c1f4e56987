using System.Text.Json;

namespace DeepSeek.Hosting.Tests;

/// <summary>States, waits, restarts and stops, with shell scripts as resources.</summary>
public sealed class LifecycleTests : IDisposable
{
    private readonly DataFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task WaitForCompletion_StartsTheDependentAfterTheExpectedExit()
    {
        var builder = Builder();
        var order = Path.Combine(_data.Path, "order");
        var first = builder.AddShell("first", $"sleep 0.3; echo first >> {order}; exit 3");
        builder.AddShell("second", $"echo second >> {order}; sleep 600").WaitForCompletion(first, exitCode: 3);
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("second", KnownResourceStates.Running, Eventually.Token);
        await Eventually.True(() => File.ReadAllLines(order).Length == 2, "both have written");

        Assert.Equal(["first", "second"], File.ReadAllLines(order));
        Assert.Equal(KnownResourceStates.Exited, app.State("first"));
    }

    [Fact]
    public async Task ExternalEndpoints_AreInTheDataFolderWhileTheHostRuns()
    {
        var builder = Builder();
        builder.AddShell("inner", "sleep 600").WithHttpEndpoint();
        var outer = builder.AddShell("outer", "sleep 600").WithHttpEndpoint().WithExternalHttpEndpoints();
        var path = Path.Combine(_data.Path, "host", "endpoints.json");
        await using (var app = await StartAsync(builder))
        {
            var file = JsonDocument.Parse(await File.ReadAllTextAsync(path)).RootElement;

            Assert.Equal(Environment.ProcessId, file.GetProperty("pid").GetInt32());
            var endpoint = Assert.Single(file.GetProperty("endpoints").EnumerateObject());
            Assert.Equal(("outer", outer.GetEndpoint("http").Url), (endpoint.Name, endpoint.Value.GetString()));
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        }

        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task WaitForCompletion_WithAnotherExitCode_FailsTheDependent()
    {
        var builder = Builder();
        var first = builder.AddShell("first", "exit 1");
        builder.AddShell("second", "sleep 600").WaitForCompletion(first);
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("second", KnownResourceStates.FailedToStart, Eventually.Token);
    }

    [Fact]
    public async Task WaitFor_AResourceThatFailed_FailsOrWaits_AsItWasTold()
    {
        var builder = Builder();
        var broken = builder.AddExecutable("broken", "/no/such/program", ".");
        builder.AddShell("strict", "sleep 600").WaitFor(broken, WaitBehavior.StopOnResourceUnavailable);
        builder.AddShell("patient", "sleep 600").WaitFor(broken, WaitBehavior.WaitOnResourceUnavailable);
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("strict", KnownResourceStates.FailedToStart, Eventually.Token);

        Assert.Equal(KnownResourceStates.FailedToStart, app.State("broken"));
        await app.ResourceNotifications.WaitForResourceAsync("patient", KnownResourceStates.Waiting, Eventually.Token);
        await app.ResourceCommands.ExecuteCommandAsync("patient", KnownResourceCommands.StartCommand, Eventually.Token);
        await app.ResourceNotifications.WaitForResourceAsync("patient", KnownResourceStates.Running, Eventually.Token);
    }

    [Fact]
    public async Task WaitFor_StartsTheDependentOnlyOnceHealthyAndReady()
    {
        var builder = Builder();
        var healthy = false;
        var ready = new TaskCompletionSource();
        builder.Services.AddHealthChecks().AddCheck("gate", () => healthy
            ? Microsoft.Extensions.Diagnostics.HealthChecks.HealthCheckResult.Healthy() : Microsoft.Extensions.Diagnostics.HealthChecks.HealthCheckResult.Unhealthy("closed"));
        var first = builder.AddShell("first", "sleep 600").WithHealthCheck("gate").OnResourceReady((_, _, _) => ready.Task);
        builder.AddShell("second", "sleep 600").WaitFor(first);
        builder.AddShell("third", "sleep 600").WaitForStart(first);
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("third", KnownResourceStates.Running, Eventually.Token);
        await app.ResourceNotifications.WaitForResourceAsync("first", state => state.Snapshot.HealthReports is [{ Description: "closed" }], Eventually.Token);
        await app.ResourceNotifications.WaitForResourceAsync("second", KnownResourceStates.Waiting, Eventually.Token);
        healthy = true;
        await app.ResourceNotifications.WaitForResourceAsync("first", state => state.Snapshot.ResourceReadyEvent is not null, Eventually.Token);
        Assert.Equal(KnownResourceStates.Waiting, app.State("second"));
        ready.SetResult();
        await app.ResourceNotifications.WaitForResourceHealthyAsync("second", Eventually.Token);
    }

    [Fact]
    public async Task CrashedResource_IsStartedAgain_OneThatEndedWellIsNot()
    {
        var builder = Builder();
        var crashes = Path.Combine(_data.Path, "crashes");
        builder.AddShell("crashing", $"echo x >> {crashes}; [ $(wc -l < {crashes}) -ge 3 ] && exec sleep 600; kill -9 $$");
        builder.AddShell("ending", "exit 0");
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("crashing", state => state.Snapshot.ExitCode == 137, Eventually.Token);
        await Eventually.True(() => File.ReadAllLines(crashes).Length == 3, "the third start");

        await app.ResourceNotifications.WaitForResourceAsync("ending", KnownResourceStates.Finished, Eventually.Token);
    }

    [Fact]
    public async Task Crash_TakesTheChildrenWithIt()
    {
        var builder = Builder();
        var note = Path.Combine(_data.Path, "child");
        builder.AddShell("parent", $"setsid sleep 600 & echo $! > {note}.new; mv {note}.new {note}; wait");
        await using var app = await StartAsync(builder);
        await Eventually.True(() => File.Exists(note), "the child");
        var child = int.Parse(File.ReadAllText(note), System.Globalization.CultureInfo.InvariantCulture);
        Assert.True(Processes.Exists(child));

        Signals.Send(app.ProcessId("parent"), Signals.Kill);

        await Eventually.True(() => !Processes.Exists(child), "the child is gone");
    }

    [Fact]
    public async Task ExplicitStart_WaitsForTheCommand_AndStopAndStartWork()
    {
        var builder = Builder();
        builder.AddShell("manual", "sleep 600").WithExplicitStart();
        await using var app = await StartAsync(builder);

        Assert.Equal(KnownResourceStates.NotStarted, app.State("manual"));
        Assert.True((await app.ResourceCommands.ExecuteCommandAsync("manual", "start", Eventually.Token)).Success);
        await app.ResourceNotifications.WaitForResourceAsync("manual", KnownResourceStates.Running, Eventually.Token);
        var pid = app.ProcessId("manual");
        await app.ResourceCommands.ExecuteCommandAsync("manual", "stop", Eventually.Token);
        Assert.False(Processes.Exists(pid));
        await app.ResourceCommands.ExecuteCommandAsync("manual", "start", Eventually.Token);
        await app.ResourceNotifications.WaitForResourceAsync("manual", KnownResourceStates.Running, Eventually.Token);
        Assert.NotEqual(pid, app.ProcessId("manual"));
        Assert.False((await app.ResourceCommands.ExecuteCommandAsync("nobody", "start", Eventually.Token)).Success);
    }

    [Fact]
    public async Task Stop_AsksFirst_AndKillsWhatDoesNotListen_DependentsFirst()
    {
        var builder = Builder("--LocalHost:StopTimeoutSeconds", "3");
        var order = Path.Combine(_data.Path, "order");
        var store = builder.AddShell("store", $"trap 'echo store >> {order}; exit 0' TERM; sleep 600 & wait");
        builder.AddShell("deaf", $"trap '' TERM; while :; do sleep 0.05; done").WaitForStart(store);
        builder.AddShell("polite", $"trap 'echo polite >> {order}; exit 0' TERM; sleep 600 & wait").WaitForStart(store);
        var app = await StartAsync(builder);
        await app.ResourceNotifications.WaitForResourceAsync("deaf", KnownResourceStates.Running, Eventually.Token);
        await app.ResourceNotifications.WaitForResourceAsync("polite", KnownResourceStates.Running, Eventually.Token);
        int[] pids = [app.ProcessId("store"), app.ProcessId("deaf"), app.ProcessId("polite")];
        // The traps are set once there are children. A shell in a wait hears the signal at once.
        await Eventually.True(() => pids.All(pid => Processes.Descendants(pid).Count > 0), "the children");

        await app.StopAsync(Eventually.Token);

        Assert.Equal(["polite", "store"], File.ReadAllLines(order));
        Assert.Equal(137, app.ResourceNotifications.TryGetCurrentState("deaf", out var state) ? state.Snapshot.ExitCode : null);
        Assert.All(pids, pid => Assert.False(Processes.Exists(pid)));
        await app.DisposeAsync();
    }

    [Fact]
    public async Task MissingParameter_FailsItsDependentsAndSaysWhatToSet()
    {
        var builder = Builder();
        var key = builder.AddParameter("api-key");
        builder.AddShell("tool", "sleep 600").WithEnvironment("KEY", key);
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("tool", KnownResourceStates.FailedToStart, Eventually.Token);

        Assert.Equal(KnownResourceStates.ValueMissing, app.State("api-key"));
        Assert.Contains(app.Services.GetRequiredService<ResourceLoggerService>().LinesAfter("tool", 0), line => line.Content.Contains("Parameters__api_key", StringComparison.Ordinal));
    }

    [Fact]
    public async Task PlainContainer_FailsWithTheReason()
    {
        var builder = Builder();
        builder.AddContainer("search", "elasticsearch:9");
        await using var app = await StartAsync(builder);

        await app.ResourceNotifications.WaitForResourceAsync("search", KnownResourceStates.FailedToStart, Eventually.Token);

        Assert.Contains(app.Services.GetRequiredService<ResourceLoggerService>().LinesAfter("search", 0), line => line.Content.Contains("runs no containers", StringComparison.Ordinal));
    }

    private IDistributedApplicationBuilder Builder(params string[] args) => TestApplication.CreateBuilder(_data, args);

    private static async Task<DistributedApplication> StartAsync(IDistributedApplicationBuilder builder)
    {
        var app = builder.Build();
        await app.StartAsync(Eventually.Token);
        return app;
    }
}
