namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>Scheduling killed while jobs flow: each ends once. Apart from its siblings, because it takes as long as they do.</summary>
public sealed class KillTests : Faults
{
    [Fact]
    public Task Scheduling_KilledAgainAndAgain_EveryJobEndsOnce() => AssertJobsSurviveAsync(async scheduling =>
    {
        await scheduling.KillAsync();
        await scheduling.StartAsync();
    });
}
