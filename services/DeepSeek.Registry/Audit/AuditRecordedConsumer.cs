using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using MassTransit;

namespace DeepSeek.Registry.Audit;

/// <summary>Writes down what other services did.</summary>
public sealed class AuditRecordedConsumer(RegistryDb db, AuditLog audit) : InboxConsumer<RegistryDb, AuditRecorded>(db)
{
    protected override Task HandleAsync(RegistryDb db, AuditRecorded message, CancellationToken cancellationToken) =>
        audit.AppendAsync(db, [new AuditDraft(message.EntryId, message.At, message.Actor, message.Action, message.Subject, message.Details)], cancellationToken);
}

/// <summary>One at a time: the log has one writer, more would only wait for each other's lock with connections in their hands.</summary>
public sealed class AuditRecordedConsumerDefinition : ConsumerDefinition<AuditRecordedConsumer>
{
    public AuditRecordedConsumerDefinition() => ConcurrentMessageLimit = 1;
}
