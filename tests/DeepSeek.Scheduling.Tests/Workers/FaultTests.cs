using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Tests.Service;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>Connections cut, replicas doubled and Scheduling away while jobs flow: each ends once.</summary>
public sealed class FaultTests : Faults
{
    [Fact]
    public async Task Scheduling_DownWhenTheHandlerCompletes_JobSucceedsOnceItIsBack()
    {
        await using var scheduling = Scheduling(leaseSeconds: 60, acceptSeconds: 15);
        await scheduling.StartAsync();
        var release = new TaskCompletionSource();
        var saved = new TaskCompletionSource();
        var script = new Script
        {
            Work = async (job, db, _) =>
            {
                await release.Task;
                await Script.CompleteAsync(job, db);
                saved.SetResult();
            },
        };
        await using var worker = await WorkerHost.StartAsync(Kind, script, Vhost, scheduling.Address);
        using var client = scheduling.ClientOf(Roles.Reader);
        var id = await Bus.SubmitAsync(Kind, maxAttempts: 1);
        await client.JobAsync(id, JobState.Running);
        await StartedAsync(script);
        await scheduling.KillAsync();
        release.SetResult();
        await saved.Task.WaitAsync(Eventually.Deadline);
        await Eventually.True(worker.HasSentEverythingAsync, TimeSpan.FromSeconds(90));

        await scheduling.StartAsync();

        var done = await client.JobAsync(id, JobState.Succeeded);
        Assert.Equal((1, 1), (done.Attempt, script.Runs.Count));
        Assert.Single(await EndedAsync([id]));
    }

    [Fact]
    public async Task Scheduling_DownForLongerThanALease_LosesNoAttempt()
    {
        await using var scheduling = Scheduling(leaseSeconds: 60, acceptSeconds: 15);
        await scheduling.StartAsync();
        var release = new TaskCompletionSource();
        var script = new Script
        {
            Work = async (job, db, _) =>
            {
                await release.Task;
                await Script.CompleteAsync(job, db);
            },
        };
        await using var worker = await WorkerHost.StartAsync(Kind, script, Vhost, scheduling.Address);
        using var client = scheduling.ClientOf(Roles.Reader);
        var id = await Bus.SubmitAsync(Kind, maxAttempts: 1);
        await client.JobAsync(id, JobState.Running);
        await StartedAsync(script);
        await scheduling.KillAsync();
        await Database.MakeItAnHourAsync();

        await scheduling.StartAsync();
        release.SetResult();

        await client.JobAsync(id, JobState.Succeeded);
        Assert.Single(script.Runs);
    }

    [Fact]
    public Task Connections_CutAgainAndAgain_EveryJobEndsOnce() => AssertJobsSurviveAsync(async _ =>
    {
        await Database.TerminateConnectionsAsync();
        await Vhost.CloseConnectionsAsync();
    });

    [Fact]
    public async Task Replicas_Two_DispatchEachJobOnceAndNeverMoreThanTheSlots()
    {
        await using var first = Replica();
        await using var second = Replica();
        first.Start();
        second.Start();
        var (running, most) = (0, 0);
        var gate = new Lock();
        var script = new Script
        {
            Work = async (job, db, _) =>
            {
                lock (gate)
                {
                    most = Math.Max(most, ++running);
                }
                await Script.CompleteAsync(job, db);
                lock (gate)
                {
                    running--;
                }
            },
        };
        await using var worker = await WorkerHost.StartAsync(Kind, script, Vhost, first.Address, slots: 3);
        var ids = new List<Guid>();
        for (var i = 0; i < 30; i++)
        {
            ids.Add(await Bus.SubmitAsync(Kind));
        }

        await EndedAsync(ids);

        Assert.Equal(ids.Order(), script.Runs.Select(run => run.JobId).Order());
        Assert.All(script.Runs, run => Assert.Equal(1, run.Attempt));
        Assert.InRange(most, 1, 3);
    }
}
