using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Tests.Service;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>Scheduling as a process, or several, with a database and a broker of its own: what is done to it while jobs flow.</summary>
public abstract class Faults : IAsyncLifetime
{
    protected string Kind { get; } = SchedulingTestExtensions.NewKind();
    protected TestDatabase Database { get; } = new();
    protected TestVhost Vhost { get; } = new();
    protected TestBus Bus { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        await Database.InitializeAsync();
        await Vhost.InitializeAsync();
        Bus = await TestBus.StartAsync(Vhost.ConnectionString);
        await Bus.ListenAsync<JobEnded>();
    }

    public async ValueTask DisposeAsync()
    {
        await Bus.DisposeAsync();
        await Vhost.DisposeAsync();
        await Database.DisposeAsync();
    }

    protected ServiceProcess Scheduling(int leaseSeconds, int acceptSeconds) =>
        SchedulingTestExtensions.Times(leaseSeconds, acceptSeconds).Aggregate(
            new ServiceProcess("DeepSeek.Scheduling")
                .With("ConnectionStrings:schedulingdb", Database.ConnectionString)
                .With("ConnectionStrings:messaging", Vhost.ConnectionString),
            (process, time) => process.With(time.Key, time.Value));

    /// <summary>A job runs, to Scheduling, before the worker has its reply: only the handler tells that it came.</summary>
    protected static Task StartedAsync(Script script) => Eventually.True(() => script.Runs.Count == 1);

    protected static Script QuickScript() => new() { Work = (job, db, _) => Script.CompleteAsync(job, db) };

    protected ServiceFactory<SchedulingDb> Replica() => new ServiceFactory<SchedulingDb>("scheduling")
        .WithTimes(leaseSeconds: 60, acceptSeconds: 15)
        .With("ConnectionStrings:schedulingdb", Database.ConnectionString)
        .With("ConnectionStrings:messaging", Vhost.ConnectionString);

    /// <summary>Three times: six jobs are submitted, and when two of them have ended the fault strikes. Every job must succeed, once.</summary>
    protected async Task AssertJobsSurviveAsync(Func<ServiceProcess, Task> strike)
    {
        await using var scheduling = Scheduling(leaseSeconds: 5, acceptSeconds: 5);
        await scheduling.StartAsync();
        await using var worker = await WorkerHost.StartAsync(Kind, QuickScript(), Vhost, scheduling.Address, slots: 2);
        var ids = new List<Guid>();
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 6; i++)
            {
                ids.Add(await Bus.SubmitAsync(Kind, maxAttempts: 5));
            }
            var enough = (round * 6) + 2;
            await Eventually.True(() => Bus.Received<JobEnded>().Count >= enough, TimeSpan.FromSeconds(60));
            await strike(scheduling);
        }

        var ended = await EndedAsync(ids);

        Assert.All(ended, message => Assert.Equal(JobState.Succeeded, message.State));
    }

    /// <summary>Waits until every job's end was told and checks that each was told once (a redelivery keeps its message id).</summary>
    protected async Task<IReadOnlyList<JobEnded>> EndedAsync(IReadOnlyCollection<Guid> ids)
    {
        await Eventually.True(
            () => ids.All(id => Bus.Received<JobEnded>().Any(message => message.Message.JobId == id)), TimeSpan.FromSeconds(120), "every job ended");
        var messages = Bus.Received<JobEnded>().DistinctBy(message => message.MessageId).Select(message => message.Message).ToList();
        Assert.Equal(ids.Order(), messages.Select(message => message.JobId).Order());
        return messages;
    }
}
