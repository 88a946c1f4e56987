using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Tests.Service;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>Processes killed, connections cut and replicas doubled while jobs flow: each ends once.</summary>
public sealed class FaultTests : IAsyncLifetime
{
    private readonly string _kind = SchedulingTestExtensions.NewKind();
    private readonly TestDatabase _database = new();
    private readonly TestVhost _vhost = new();
    private TestBus _bus = null!;

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
        _bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await _bus.ListenAsync<JobEnded>();
    }

    public async ValueTask DisposeAsync()
    {
        await _bus.DisposeAsync();
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
    }

    private ServiceProcess Scheduling(int leaseSeconds, int acceptSeconds) =>
        SchedulingTestExtensions.Times(leaseSeconds, acceptSeconds).Aggregate(
            new ServiceProcess("DeepSeek.Scheduling")
                .With("ConnectionStrings:schedulingdb", _database.ConnectionString)
                .With("ConnectionStrings:messaging", _vhost.ConnectionString),
            (process, time) => process.With(time.Key, time.Value));

    [Fact]
    public async Task Scheduling_DownWhenTheHandlerCompletes_JobSucceedsOnceItIsBack()
    {
        await using var scheduling = Scheduling(leaseSeconds: 5, acceptSeconds: 5);
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
        await using var worker = await WorkerHost.StartAsync(_kind, script, _vhost, scheduling.Address);
        using var client = scheduling.ClientOf(Roles.Reader);
        var id = await _bus.SubmitAsync(_kind, maxAttempts: 1);
        await client.JobAsync(id, JobState.Running);
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
        await using var scheduling = Scheduling(leaseSeconds: 3, acceptSeconds: 5);
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
        await using var worker = await WorkerHost.StartAsync(_kind, script, _vhost, scheduling.Address);
        using var client = scheduling.ClientOf(Roles.Reader);
        var id = await _bus.SubmitAsync(_kind, maxAttempts: 1);
        await client.JobAsync(id, JobState.Running);
        await scheduling.KillAsync();
        await Eventually.True(async () => await _database.ScalarAsync<bool>($"select lease_until < now() from jobs where id = '{id}'"));

        await scheduling.StartAsync();
        release.SetResult();

        await client.JobAsync(id, JobState.Succeeded);
        Assert.Single(script.Runs);
    }

    [Fact]
    public async Task Scheduling_KilledAgainAndAgain_EveryJobEndsOnce()
    {
        await using var scheduling = Scheduling(leaseSeconds: 5, acceptSeconds: 2);
        await scheduling.StartAsync();
        await using var worker = await WorkerHost.StartAsync(_kind, QuickScript(), _vhost, scheduling.Address, slots: 2);
        var ids = new List<Guid>();
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 6; i++)
            {
                ids.Add(await _bus.SubmitAsync(_kind, maxAttempts: 5));
            }
            var enough = (round * 6) + 2;
            await Eventually.True(() => _bus.Received<JobEnded>().Count >= enough, TimeSpan.FromSeconds(60));
            await scheduling.KillAsync();
            await scheduling.StartAsync();
        }

        var ended = await EndedAsync(ids);

        Assert.All(ended, message => Assert.Equal(JobState.Succeeded, message.State));
    }

    [Fact]
    public async Task Connections_CutAgainAndAgain_EveryJobEndsOnce()
    {
        await using var scheduling = Scheduling(leaseSeconds: 5, acceptSeconds: 2);
        await scheduling.StartAsync();
        await using var worker = await WorkerHost.StartAsync(_kind, QuickScript(), _vhost, scheduling.Address, slots: 2);
        var ids = new List<Guid>();
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 6; i++)
            {
                ids.Add(await _bus.SubmitAsync(_kind, maxAttempts: 5));
            }
            var enough = (round * 6) + 2;
            await Eventually.True(() => _bus.Received<JobEnded>().Count >= enough, TimeSpan.FromSeconds(60));
            await _database.ScalarAsync<object>(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
            await CutBrokerConnectionsAsync();
        }

        var ended = await EndedAsync(ids);

        Assert.All(ended, message => Assert.Equal(JobState.Succeeded, message.State));
    }

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
        await using var worker = await WorkerHost.StartAsync(_kind, script, _vhost, first.Address, slots: 3);
        var ids = new List<Guid>();
        for (var i = 0; i < 30; i++)
        {
            ids.Add(await _bus.SubmitAsync(_kind));
        }

        await EndedAsync(ids);

        Assert.Equal(ids.Order(), script.Runs.Select(run => run.JobId).Order());
        Assert.All(script.Runs, run => Assert.Equal(1, run.Attempt));
        Assert.InRange(most, 1, 3);
    }

    private static Script QuickScript() => new() { Work = (job, db, _) => Script.CompleteAsync(job, db) };

    private ServiceFactory<SchedulingDb> Replica() => new ServiceFactory<SchedulingDb>("scheduling")
        .WithTimes(leaseSeconds: 60, acceptSeconds: 60)
        .With("ConnectionStrings:schedulingdb", _database.ConnectionString)
        .With("ConnectionStrings:messaging", _vhost.ConnectionString);

    /// <summary>Waits until every job's end was told and checks that each was told once (a redelivery keeps its message id).</summary>
    private async Task<IReadOnlyList<JobEnded>> EndedAsync(IReadOnlyCollection<Guid> ids)
    {
        await Eventually.True(
            () => ids.All(id => _bus.Received<JobEnded>().Any(message => message.Message.JobId == id)), TimeSpan.FromSeconds(120), "every job ended");
        var messages = _bus.Received<JobEnded>().DistinctBy(message => message.MessageId).Select(message => message.Message).ToList();
        Assert.Equal(ids.Order(), messages.Select(message => message.JobId).Order());
        return messages;
    }

    private async Task CutBrokerConnectionsAsync()
    {
        using var management = new HttpClient { BaseAddress = TestServers.RabbitMqManagement };
        management.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue(
            "Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(Uri.UnescapeDataString(TestServers.RabbitMq.UserInfo))));
        var vhost = new Uri(_vhost.ConnectionString).AbsolutePath[1..];
        foreach (var connection in (await management.GetFromJsonAsync<JsonElement[]>($"api/vhosts/{vhost}/connections"))!)
        {
            await management.DeleteAsync($"api/connections/{Uri.EscapeDataString(connection.GetProperty("name").GetString()!)}");
        }
    }
}
