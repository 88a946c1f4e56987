namespace Aspire.Hosting.ApplicationModel;

/// <summary>The network an endpoint is seen from. This host has one: the machine's loopback.</summary>
public readonly record struct NetworkIdentifier(string Value)
{
    /// <inheritdoc />
    public override string ToString() => Value;
}

/// <summary>Networks known by name.</summary>
public static class KnownNetworkIdentifiers
{
    /// <summary>The machine's loopback.</summary>
    public static readonly NetworkIdentifier LocalhostNetwork = new("localhost");

    /// <summary>Reachable from anywhere.</summary>
    public static readonly NetworkIdentifier PublicInternet = new(".");
}
