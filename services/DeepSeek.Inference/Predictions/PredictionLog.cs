using System.Threading.Channels;
using DeepSeek.Inference.Data;
using DeepSeek.ServiceDefaults.Messaging;
using Microsoft.Extensions.Options;
using Npgsql;
using NpgsqlTypes;

namespace DeepSeek.Inference.Predictions;

/// <summary>
/// Writes what was predicted, off the requests' path: entries wait in a bounded buffer and go to the database many at a
/// time. When the database stays away until the buffer is full, further entries are counted and dropped; so is one that the database refuses.
/// </summary>
internal sealed partial class PredictionLog(
    NpgsqlDataSource database, IOptions<InferenceOptions> options, TimeProvider time, ILogger<PredictionLog> logger) : BackgroundService
{
    private const int BatchSize = 1000;
    private static readonly TimeSpan Gather = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PruneInterval = TimeSpan.FromHours(1);
    private static readonly TimeSpan FlushWithin = TimeSpan.FromSeconds(3);

    private readonly Channel<Prediction> _entries = Channel.CreateBounded<Prediction>(
        new BoundedChannelOptions(options.Value.PredictionLogCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    private DateTimeOffset _nextPrune;

    public void Add(Prediction entry)
    {
        if (!_entries.Writer.TryWrite(entry))
        {
            InferenceTelemetry.PredictionsUnlogged.Add(1);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var batch = new List<Prediction>(BatchSize);
        try
        {
            while (await _entries.Reader.WaitToReadAsync(stoppingToken))
            {
                // A little patience makes one statement of many.
                await Task.Delay(Gather, time, stoppingToken);
                Fill(batch);
                await WriteUntilItWorksAsync(batch, stoppingToken);
                batch.Clear();
                await PruneAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException)
        {
            await FlushAsync(batch);
        }
    }

    private void Fill(List<Prediction> batch)
    {
        while (batch.Count < BatchSize && _entries.Reader.TryRead(out var entry))
        {
            batch.Add(entry);
        }
    }

    private async Task WriteUntilItWorksAsync(List<Prediction> batch, CancellationToken cancellationToken)
    {
        for (var delay = TimeSpan.FromMilliseconds(250); ; delay = delay * 2 < LongestBackoff ? delay * 2 : LongestBackoff)
        {
            try
            {
                await WriteAsync(batch, cancellationToken);
                return;
            }
            catch (Exception fault) when (Transients.Includes(fault))
            {
                LogWaiting(batch.Count, fault.Message);
                await Task.Delay(delay, time, cancellationToken);
            }
            catch (Exception fault) when (fault is not OperationCanceledException && batch.Count == 1)
            {
                InferenceTelemetry.PredictionsUnlogged.Add(1);
                LogRefused(batch[0].Id, fault.Message);
                return;
            }
            catch (Exception fault) when (fault is not OperationCanceledException)
            {
                // One entry spoils the statement; halving finds it, and the others are written.
                var half = batch.Count / 2;
                await WriteUntilItWorksAsync(batch[..half], cancellationToken);
                await WriteUntilItWorksAsync(batch[half..], cancellationToken);
                return;
            }
        }
    }

    private async Task FlushAsync(List<Prediction> batch)
    {
        using var deadline = new CancellationTokenSource(FlushWithin);
        try
        {
            for (Fill(batch); batch.Count > 0; Fill(batch))
            {
                await WriteUntilItWorksAsync(batch, deadline.Token);
                batch.Clear();
            }
        }
        catch (OperationCanceledException fault)
        {
            LogLost(batch.Count + _entries.Reader.Count, fault.Message);
        }
    }

    private async Task WriteAsync(List<Prediction> batch, CancellationToken cancellationToken)
    {
        // A write whose answer was lost is repeated: entries that are there already are skipped.
        await using var command = database.CreateCommand("""
            insert into predictions (id, version_id, deployment, model, version, kind, rows, actor, duration_us, results, created_at)
            select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            on conflict (id) do nothing
            """);
        command.Parameters.AddRange(new NpgsqlParameter[]
        {
            Array(batch, p => p.Id), Array(batch, p => p.VersionId), Array(batch, p => p.Deployment), Array(batch, p => p.Model),
            Array(batch, p => p.Version), Array(batch, p => p.Kind), Array(batch, p => p.Rows), Array(batch, p => p.Actor),
            Array(batch, p => p.DurationUs),
            new() { Value = batch.Select(p => p.Results).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Jsonb },
            Array(batch, p => p.CreatedAt.ToUniversalTime()),
        });
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private async Task PruneAsync(CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        if (now < _nextPrune)
        {
            return;
        }

        _nextPrune = now + PruneInterval;
        try
        {
            await using var command = database.CreateCommand("delete from predictions where created_at < $1");
            command.Parameters.Add(new() { Value = now.AddDays(-options.Value.PredictionRetentionDays).ToUniversalTime() });
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
        catch (NpgsqlException fault)
        {
            LogNotPruned(fault.Message);
        }
    }

    private static NpgsqlParameter Array<T>(List<Prediction> batch, Func<Prediction, T> value) =>
        new() { Value = batch.Select(value).ToArray() };

    [LoggerMessage(LogLevel.Warning, "{Count} prediction log entries wait for the database: {Reason}")]
    private partial void LogWaiting(int count, string reason);

    [LoggerMessage(LogLevel.Warning, "The log entry of prediction {Id} is dropped, because the database refuses it: {Reason}")]
    private partial void LogRefused(Guid id, string reason);

    [LoggerMessage(LogLevel.Warning, "{Count} prediction log entries are lost: {Reason}")]
    private partial void LogLost(int count, string reason);

    [LoggerMessage(LogLevel.Warning, "Old prediction log entries could not be deleted: {Reason}")]
    private partial void LogNotPruned(string reason);
}
