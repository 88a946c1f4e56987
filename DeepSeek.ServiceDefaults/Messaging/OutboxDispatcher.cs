using System.Diagnostics;
using System.Text.Json;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;

namespace DeepSeek.ServiceDefaults.Messaging;

/// <summary>
/// Sends the rows of the outbox in the order of their writing and deletes each when the broker has confirmed it.
/// </summary>
/// <remarks>
/// A row leaves at least once: a crash between confirmation and commit sends it again under the same MessageId, which the receiver's inbox
/// drops. Several replicas share the work by <c>for update skip locked</c>. A message that no queue takes is tried again, ever more
/// seldom, because its subscriber may not have started yet; so is one that cannot be sent as it is. Those behind it pass; only a broker that is
/// away holds them all. What has failed once is tried again by a loop of its own: a message for which the broker closes the channel is never
/// answered, and would hold up all others for <see cref="OutboxOptions.PublishTimeout"/> at each attempt. (Of those, one may be on that channel.)
/// </remarks>
internal sealed partial class OutboxDispatcher<TDb>(
    IDbContextFactory<TDb> contexts, NpgsqlDataSource database, IBus bus, IOptions<OutboxOptions> options,
    TimeProvider time, ILogger<OutboxDispatcher<TDb>> logger) : BackgroundService
    where TDb : DbContext
{
    /// <summary>Header under which MassTransit carries the W3C trace parent.</summary>
    private const string TraceHeader = "MT-Activity-Id";
    private const string ActivityName = "outbox dispatch";
    private static readonly TimeSpan s_longestDelay = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_pruneInterval = TimeSpan.FromHours(1);

    private DateTimeOffset _nextPrune;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(RunAsync(fresh: true, stoppingToken), RunAsync(fresh: false, stoppingToken));

    /// <param name="fresh">The rows that were never tried, else those that were.</param>
    /// <param name="stoppingToken">Ends the loop.</param>
    private async Task RunAsync(bool fresh, CancellationToken stoppingToken)
    {
        var delay = TimeSpan.FromMilliseconds(200);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await using var listener = await database.OpenConnectionAsync(stoppingToken);
                await using (var listen = new NpgsqlCommand("listen outbox", listener))
                {
                    await listen.ExecuteNonQueryAsync(stoppingToken);
                }

                while (true)
                {
                    while (await DispatchBatchAsync(fresh, stoppingToken))
                    {
                    }

                    delay = TimeSpan.FromMilliseconds(200);
                    if (fresh)
                    {
                        await PruneInboxAsync(stoppingToken);
                    }

                    await listener.WaitAsync(options.Value.PollInterval, stoppingToken);
                }
            }
            catch (Exception exception) when (!stoppingToken.IsCancellationRequested)
            {
                LogWaiting(exception.Message, delay.TotalSeconds);
                await Task.Delay(delay, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                delay = delay * 2 < TimeSpan.FromSeconds(5) ? delay * 2 : TimeSpan.FromSeconds(5);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                return; // Whatever broke, broke because the service stops; unsent rows wait for the next start.
            }
        }
    }

    /// <summary>True when there may be more to send.</summary>
    private async Task<bool> DispatchBatchAsync(bool fresh, CancellationToken cancellationToken)
    {
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var batch = await db.Set<OutboxMessage>().FromSql(
            $"""
            select * from outbox_messages where next_attempt_at <= {time.GetUtcNow()} and (attempts = 0) = {fresh}
            order by sequence limit {options.Value.BatchSize} for update skip locked
            """).ToListAsync(cancellationToken);
        try
        {
            foreach (var message in batch)
            {
                await DispatchAsync(db, message, cancellationToken);
            }
        }
        finally
        {
            // What the broker has confirmed must not be sent again because a later message failed.
            await db.SaveChangesAsync(CancellationToken.None);
            await transaction.CommitAsync(CancellationToken.None);
        }

        return batch.Count == options.Value.BatchSize;
    }

    private async Task DispatchAsync(TDb db, OutboxMessage message, CancellationToken cancellationToken)
    {
        if (Type.GetType(message.MessageType) is not { } type)
        {
            Postpone(message, $"The type {message.MessageType} is not known to this version of the service.");
            LogUnknownType(message.Id, message.MessageType);
            return;
        }

        try
        {
            await SendAsync(message, type, cancellationToken);
            db.Remove(message);
        }
        catch (MessageReturnedException)
        {
            if (time.GetUtcNow() - message.CreatedAt > options.Value.UnroutedRetention)
            {
                LogDropped(message.MessageType, message.Id);
                db.Remove(message);
                return;
            }

            Postpone(message, "No queue takes this message yet.");
        }
        catch (TimeoutException fault)
        {
            // The broker may be at fault or the message: both wait, and the message does not come first the next time.
            Postpone(message, fault.Message);
            throw;
        }
        catch (Exception fault) when (!cancellationToken.IsCancellationRequested && !BrokerFaults.Includes(fault))
        {
            Postpone(message, fault.Message);
            LogUnsendable(message.Id, message.MessageType, fault.Message);
        }
    }

    private async Task SendAsync(OutboxMessage message, Type type, CancellationToken cancellationToken)
    {
        using var activity = new Activity(ActivityName);
        if (message.TraceParent is { } parent)
        {
            activity.SetParentId(parent);
        }

        activity.Start();
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(options.Value.PublishTimeout);
        var body = JsonSerializer.Deserialize(message.Body, type, PlatformJson.Options)!;
        try
        {
            if (message.Destination is { } queue)
            {
                var endpoint = await bus.GetSendEndpoint(new Uri("queue:" + queue));
                await endpoint.Send(body, type, Pipe.Execute<SendContext>(context => Stamp(context, message)), timeout.Token);
            }
            else
            {
                await bus.Publish(body, type, Pipe.Execute<PublishContext>(context =>
                {
                    Stamp(context, message);
                    context.Mandatory = true;
                }), timeout.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"The broker has not confirmed {type.Name} {message.Id} within {options.Value.PublishTimeout.TotalSeconds} s.");
        }
    }

    private static void Stamp(SendContext context, OutboxMessage message)
    {
        context.MessageId = message.Id;
        if (message.TraceParent is { } parent)
        {
            context.Headers.Set(TraceHeader, parent);
        }
    }

    private void Postpone(OutboxMessage message, string reason)
    {
        message.Attempts++;
        message.Error = reason;
        var delay = TimeSpan.FromSeconds(0.25 * Math.Pow(2, Math.Min(message.Attempts, 16)));
        message.NextAttemptAt = time.GetUtcNow() + (delay < s_longestDelay ? delay : s_longestDelay);
    }

    private async Task PruneInboxAsync(CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        if (now < _nextPrune)
        {
            return;
        }

        _nextPrune = now + s_pruneInterval;
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        var oldest = now - options.Value.InboxRetention;
        await db.Set<InboxMessage>().Where(message => message.ReceivedAt < oldest).ExecuteDeleteAsync(cancellationToken);
    }

    [LoggerMessage(LogLevel.Warning, "The outbox waits {Seconds} s: {Reason}")]
    private partial void LogWaiting(string reason, double seconds);

    [LoggerMessage(LogLevel.Error, "Outbox message {Id} has the unknown type {Type}; it stays until a version that knows it runs")]
    private partial void LogUnknownType(Guid id, string type);

    [LoggerMessage(LogLevel.Error, "Outbox message {Id} of type {Type} cannot be sent; it stays and is tried again, ever more seldom: {Reason}")]
    private partial void LogUnsendable(Guid id, string type, string reason);

    [LoggerMessage(LogLevel.Warning, "Nobody has ever subscribed to {Type}; message {Id} is dropped")]
    private partial void LogDropped(string type, Guid id);
}
