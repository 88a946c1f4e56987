using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Tests.Service;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>Scheduling killed while jobs flow: each ends once. Apart from its siblings, because it takes as long as they do.</summary>
public sealed class KillTests : Faults
{
    [Fact]
    public async Task Scheduling_KilledAgainAndAgain_EveryJobEndsOnce()
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
            await scheduling.KillAsync();
            await scheduling.StartAsync();
        }

        var ended = await EndedAsync(ids);

        Assert.All(ended, message => Assert.Equal(JobState.Succeeded, message.State));
    }
}
