namespace DeepSeek.Contracts.Inference;

/// <summary>A deployment was created, changed, switched on or off, or deleted; every replica compares it with what it serves.</summary>
public sealed record DeploymentChanged
{
    public required Guid DeploymentId { get; init; }

    public required string Name { get; init; }

    public required DateTimeOffset At { get; init; }
}
