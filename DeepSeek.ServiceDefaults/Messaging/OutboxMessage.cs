namespace DeepSeek.ServiceDefaults.Messaging;

/// <summary>A message that is to leave once the transaction that wrote this row has committed.</summary>
public sealed class OutboxMessage
{
    /// <summary>Also the MessageId on the bus, by which receivers know a duplicate.</summary>
    public required Guid Id { get; init; }
    /// <summary>Order of writing, set by the database.</summary>
    public long Sequence { get; private set; }
    /// <summary>Full type name and assembly.</summary>
    public required string MessageType { get; init; }
    /// <summary>Queue of a command; null for what is published to whoever subscribes.</summary>
    public string? Destination { get; init; }
    public required string Body { get; init; }
    public string? TraceParent { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public int Attempts { get; set; }
    public required DateTimeOffset NextAttemptAt { get; set; }
    public string? Error { get; set; }
}

/// <summary>A message that a consumer has dealt with.</summary>
public sealed class InboxMessage
{
    public required Guid MessageId { get; init; }
    public required string Consumer { get; init; }
    public DateTimeOffset ReceivedAt { get; private set; }
}
