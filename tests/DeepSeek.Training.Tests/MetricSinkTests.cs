using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;
using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace DeepSeek.Training.Tests;

public sealed class MetricSinkTests(TrainingPlatform platform) : IClassFixture<TrainingPlatform>
{
    [Fact]
    public async Task Points_GatheredWhileTheDatabaseIsAway_AreStoredLater()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        var run = new Run
        {
            Id = Guid.CreateVersion7(), JobId = Guid.NewGuid(), Name = "n", ModelName = "m", Owner = "ada", DatasetManifestSha256 = "", Spec = "{}",
            State = SubjectState.Running, Attempt = 1, LeaseId = Guid.NewGuid(), CreatedAt = DateTimeOffset.UtcNow,
        };
        await using var scope = platform.Training.Services.CreateAsyncScope();
        var stored = scope.ServiceProvider.GetRequiredService<TrainingDb>();
        stored.Runs.Add(run);
        await stored.SaveChangesAsync(cancellationToken);
        var connection = platform.Training.Database.ConnectionString;
        await using var db = new TrainingDb(new DbContextOptionsBuilder<TrainingDb>().UseNpgsql(connection).Options);
        var sink = new MetricSink(db, run.Id, run.LeaseId!.Value, new HurryingClock(), NullLogger.Instance);

        // Nothing listens on port 1: every connection is refused.
        db.Database.SetConnectionString(connection + ";Port=1");
        await sink.AddAsync(new TrainerEvent { Event = "progress", Epoch = 1, Step = 1, Loss = 0.5 }, cancellationToken);
        await sink.AddAsync(new TrainerEvent { Event = "progress", Epoch = 1, Step = 2, Loss = 0.4 }, cancellationToken);
        db.Database.SetConnectionString(connection);
        await sink.FinishAsync(cancellationToken);

        Assert.Equal([0.5, 0.4], (await platform.MetricsAsync(run.Id, "loss")).Select(point => point.Value));
    }

    /// <summary>Every look at it is a minute later, so every point is due at once.</summary>
    private sealed class HurryingClock : TimeProvider
    {
        private DateTimeOffset _now = DateTimeOffset.UtcNow;

        public override DateTimeOffset GetUtcNow() => _now += TimeSpan.FromMinutes(1);
    }
}
