using System.Diagnostics;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults.Messaging;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults;

/// <summary>Messages leave with the transaction that stores the state they tell of: these methods only add rows, SaveChanges commits both.</summary>
public static class OutboxExtensions
{
    /// <summary>Maps the outbox and inbox tables.</summary>
    public static ModelBuilder AddOutbox(this ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<OutboxMessage>(outbox =>
        {
            outbox.ToTable("outbox_messages");
            outbox.HasKey(message => message.Id);
            outbox.Property(message => message.Id).ValueGeneratedNever();
            outbox.Property(message => message.Sequence).UseIdentityAlwaysColumn();
        });
        modelBuilder.Entity<InboxMessage>(inbox =>
        {
            inbox.ToTable("inbox_messages");
            inbox.HasKey(message => new { message.MessageId, message.Consumer });
            inbox.Property(message => message.ReceivedAt).HasDefaultValueSql("now()");
        });
        return modelBuilder;
    }

    /// <summary>Publishes to all subscribers of <typeparamref name="T"/>; returns the message's id.</summary>
    public static Guid Publish<T>(this DbContext db, T message) where T : class => db.Add(message, destination: null);

    /// <summary>Sends to one queue, which need not exist yet.</summary>
    public static Guid Send<T>(this DbContext db, string queue, T message) where T : class => db.Add(message, queue);

    /// <summary>Adds an entry to the platform's audit log; <paramref name="details"/> is serialised as a JSON object.</summary>
    public static Guid Audit(this DbContext db, string actor, string action, string subject, object? details = null) =>
        db.Publish(new AuditRecorded
        {
            EntryId = Guid.CreateVersion7(),
            Actor = actor,
            Action = action,
            Subject = subject,
            Details = details is null ? "{}" : JsonSerializer.Serialize(details, PlatformJson.Options),
            At = DateTimeOffset.UtcNow,
        });

    private static Guid Add<T>(this DbContext db, T message, string? destination) where T : class
    {
        var type = message.GetType();
        var now = DateTimeOffset.UtcNow;
        var row = new OutboxMessage
        {
            Id = Guid.CreateVersion7(),
            MessageType = $"{type.FullName}, {type.Assembly.GetName().Name}",
            Destination = destination,
            Body = JsonSerializer.Serialize(message, type, PlatformJson.Options),
            TraceParent = Activity.Current is { IdFormat: ActivityIdFormat.W3C } activity ? activity.Id : null,
            CreatedAt = now,
            NextAttemptAt = now,
        };
        db.Set<OutboxMessage>().Add(row);
        return row.Id;
    }
}
