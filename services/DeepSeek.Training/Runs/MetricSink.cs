using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>Gathers a run's series and stores it in batches, as long as the attempt holds the fence.</summary>
internal sealed class MetricSink(TrainingDb db, Guid run, Guid lease, TimeProvider clock)
{
    private const int BatchSize = 200;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly Dictionary<(string Name, long Step), (int Epoch, double Value, DateTimeOffset At)> _points = [];
    private DateTimeOffset _flushed = clock.GetUtcNow();

    public async Task AddAsync(TrainerEvent progress, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (progress.Loss is { } loss)
        {
            Add("loss", loss);
        }
        foreach (var (name, value) in progress.Metrics ?? new Dictionary<string, double>())
        {
            Add("validation." + name, value);
        }
        if (_points.Count >= BatchSize || now - _flushed >= Interval)
        {
            await FlushAsync(cancellationToken);
        }

        void Add(string name, double value) => _points[(name, progress.Step)] = (progress.Epoch, value, now);
    }

    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        _flushed = clock.GetUtcNow();
        if (_points.Count == 0)
        {
            return;
        }
        string[] names = [.. _points.Keys.Select(key => key.Name)];
        long[] steps = [.. _points.Keys.Select(key => key.Step)];
        int[] epochs = [.. _points.Values.Select(point => point.Epoch)];
        double[] values = [.. _points.Values.Select(point => point.Value)];
        DateTimeOffset[] times = [.. _points.Values.Select(point => point.At)];
        await db.Database.ExecuteSqlAsync($"""
            insert into run_metrics (run_id, name, step, epoch, value, at)
            select {run}, point.* from unnest({names}, {steps}, {epochs}, {values}, {times}) as point
            where exists (select from runs where id = {run} and lease_id = {lease})
            on conflict (run_id, name, step) do update set epoch = excluded.epoch, value = excluded.value, at = excluded.at
            """, cancellationToken);
        _points.Clear();
    }
}
