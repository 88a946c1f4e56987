using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults;

/// <summary>
/// Consumes each message once: the inbox row, what <see cref="HandleAsync"/> changes and what it publishes are one transaction, so a
/// redelivered or doubled message finds its row and is skipped.
/// </summary>
public abstract class InboxConsumer<TDb, TMessage>(TDb db) : IConsumer<TMessage>
    where TDb : DbContext
    where TMessage : class
{
    public async Task Consume(ConsumeContext<TMessage> context)
    {
        var messageId = context.MessageId ?? throw new InvalidOperationException($"A {typeof(TMessage).Name} came without a message id.");
        var consumer = GetType().Name;
        var cancellationToken = context.CancellationToken;
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        // A second delivery waits here for the first one's commit or rollback.
        var isNew = await db.Database.ExecuteSqlAsync(
            $"insert into inbox_messages (message_id, consumer) values ({messageId}, {consumer}) on conflict do nothing", cancellationToken) == 1;
        if (!isNew)
        {
            return;
        }

        await HandleAsync(db, context.Message, cancellationToken);
        await db.SaveChangesAsync(cancellationToken);
        await transaction.CommitAsync(cancellationToken);
    }

    /// <summary>Changes state through <paramref name="db"/>; the caller saves and commits.</summary>
    protected abstract Task HandleAsync(TDb db, TMessage message, CancellationToken cancellationToken);
}
