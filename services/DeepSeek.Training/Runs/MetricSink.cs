using DeepSeek.ServiceDefaults.Messaging;
using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>Gathers a run's series and stores it in batches, as long as the attempt holds the fence.</summary>
/// <remarks>While the database is away the points wait, up to a limit: training goes on without it.</remarks>
internal sealed partial class MetricSink(TrainingDb db, Guid run, Guid lease, TimeProvider clock, ILogger logger)
{
    /// <summary>Points that wait for the database; later ones are lost.</summary>
    internal const int Capacity = 20_000;

    private const int BatchSize = 200;
    private const int LastTries = 5;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly Dictionary<(string Name, long Step), (int Epoch, double Value, DateTimeOffset At)> _points = [];
    private DateTimeOffset _flushed = clock.GetUtcNow();
    private long _lost;
    private bool _away;

    public async Task AddAsync(TrainerEvent progress, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (progress.Loss is { } loss)
        {
            Add("loss", loss);
        }
        if (progress.TokensPerSecond is { } tokens)
        {
            Add("tokensPerSecond", tokens);
        }
        foreach (var (name, value) in progress.Metrics ?? new Dictionary<string, double>())
        {
            Add("validation." + name, value);
        }
        if ((_points.Count >= BatchSize && !_away) || now - _flushed >= Interval)
        {
            try
            {
                await StoreAsync(cancellationToken);
            }
            catch (Exception fault) when (Transients.Includes(fault))
            {
                _away = true;
                LogWaiting(logger, run, _points.Count, fault.Message);
            }
        }

        void Add(string name, double value)
        {
            if (_points.Count >= Capacity)
            {
                _lost++;
                return;
            }
            _points[(name, progress.Step)] = (progress.Epoch, value, now);
        }
    }

    /// <summary>Stores the rest, with some patience; a series with a gap does not fail the run.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        for (var left = LastTries; left > 0; left--)
        {
            try
            {
                await StoreAsync(CancellationToken.None);
                break;
            }
            catch (Exception fault) when (Transients.Includes(fault))
            {
                LogWaiting(logger, run, _points.Count, fault.Message);
                if (left > 1)
                {
                    await Task.Delay(Interval, clock, cancellationToken);
                }
            }
        }
        if (_lost + _points.Count > 0)
        {
            LogLost(logger, run, _lost + _points.Count);
        }
    }

    private async Task StoreAsync(CancellationToken cancellationToken)
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
        _away = false;
    }

    [LoggerMessage(LogLevel.Warning, "Run {RunId}: {Count} metric points wait for the database: {Reason}")]
    private static partial void LogWaiting(ILogger logger, Guid runId, int count, string reason);

    [LoggerMessage(LogLevel.Warning, "Run {RunId}: {Count} metric points are lost, because the database was away for too long.")]
    private static partial void LogLost(ILogger logger, Guid runId, long count);
}
