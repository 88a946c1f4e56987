namespace Aspire.Hosting.ApplicationModel;

/// <summary>The address an endpoint got.</summary>
public class AllocatedEndpoint
{
    /// <summary>Creates an address. <paramref name="targetPortExpression"/> is the template that each process's own port replaces.</summary>
    public AllocatedEndpoint(EndpointAnnotation endpoint, string address, int port, string? targetPortExpression = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(port, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, 65535);
        Endpoint = endpoint;
        Address = address;
        Port = port;
        TargetPortExpression = targetPortExpression;
    }

    /// <summary>The endpoint the address belongs to.</summary>
    public EndpointAnnotation Endpoint { get; }

    /// <summary>Host name to connect to.</summary>
    public string Address { get; }

    /// <summary>Port to connect to.</summary>
    public int Port { get; }

    /// <summary>Scheme of the address, such as http.</summary>
    public string UriScheme => Endpoint.UriScheme;

    /// <summary>Host and port.</summary>
    public string EndPointString => $"{Address}:{Port}";

    /// <summary>Scheme, host and port.</summary>
    public string UriString => $"{UriScheme}://{EndPointString}";

    /// <summary>Template of the port the process itself listens on.</summary>
    public string? TargetPortExpression { get; }

    /// <inheritdoc />
    public override string ToString() => UriString;
}
