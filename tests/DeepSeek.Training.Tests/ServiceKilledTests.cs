using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;

namespace DeepSeek.Training.Tests;

/// <summary>The service as a process that is killed or told to stop while its trainer runs.</summary>
public sealed class ServiceKilledTests(ServiceKilledTests.Fixture platform) : IClassFixture<ServiceKilledTests.Fixture>, IAsyncLifetime
{
    private readonly ServiceProcess _service = platform.Training.AsProcess("DeepSeek.Training")
        .With("Worker:YieldSeconds", "60").With("Worker:GiveBackSeconds", "30");

    public sealed class Fixture : TrainingPlatform
    {
        protected override bool InProcess => false;
    }

    [Fact]
    public async Task Service_KilledWhileTraining_TrainerDiesWithItAndTheRunResumes()
    {
        using var runs = Client();
        var accepted = await platform.StartAsync(platform.LongSpec(), runs);
        await platform.CheckpointAsync(accepted.Id);

        await _service.KillAsync();

        await Eventually.True(() => TrainerProcesses.Of(accepted.Id).Count == 0);
        await platform.Scheduling.Database.RunOutAsync(accepted.JobId);
        await _service.StartAsync();
        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded, runs);
        Assert.Equal(await platform.UndisturbedAsync(runs), TrainingPlatform.ShaOf(run, "weights.safetensors"));
        Assert.Equal(2, (await platform.JobAsync(accepted.JobId, JobState.Succeeded)).Attempt);
    }

    [Fact]
    public async Task Service_ToldToStop_RunYieldsAndResumesAtNoCost()
    {
        using var runs = Client();
        var accepted = await platform.StartAsync(platform.LongSpec(), runs);
        await platform.CheckpointAsync(accepted.Id);

        await _service.StopAsync();

        Assert.Empty(TrainerProcesses.Of(accepted.Id));
        await _service.StartAsync();
        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded, runs);
        Assert.Equal(await platform.UndisturbedAsync(runs), TrainingPlatform.ShaOf(run, "weights.safetensors"));
        Assert.Equal(1, (await platform.JobAsync(accepted.JobId, JobState.Succeeded)).Attempt);
    }

    public async ValueTask InitializeAsync() => await _service.StartAsync();

    public ValueTask DisposeAsync() => _service.DisposeAsync();

    private HttpClient Client() => _service.ClientOf(Roles.Operator, "ada");
}
