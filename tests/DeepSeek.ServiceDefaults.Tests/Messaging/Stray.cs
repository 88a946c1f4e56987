/// <summary>MassTransit refuses messages without a namespace.</summary>
public sealed record Stray;

/// <summary>Its author's fault.</summary>
public sealed record Mine
{
    public Mine() => throw new DivideByZeroException("This message cannot be made.");
}
