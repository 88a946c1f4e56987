using System.ComponentModel.DataAnnotations;

namespace DeepSeek.ServiceDefaults.Messaging;

/// <summary>Configuration section <c>Outbox</c>.</summary>
public sealed class OutboxOptions
{
    public const string Section = "Outbox";

    /// <summary>Rows sent per transaction. Default 64, 1 to 1000.</summary>
    [Range(1, 1000)]
    public int BatchSize { get; set; } = 64;

    /// <summary>Longest wait for the next look when the database's notification was missed. Default 2 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.05", "00:01:00")]
    public TimeSpan PollInterval { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Time one message may take until the broker has confirmed it. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "00:05:00")]
    public TimeSpan PublishTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a message to which nobody has subscribed is kept for a later subscriber. Default 24 h.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "30.00:00:00")]
    public TimeSpan UnroutedRetention { get; set; } = TimeSpan.FromHours(24);

    /// <summary>How long the inbox remembers a message. Default 7 days; longer than any redelivery can take.</summary>
    [Range(typeof(TimeSpan), "01:00:00", "90.00:00:00")]
    public TimeSpan InboxRetention { get; set; } = TimeSpan.FromDays(7);
}
