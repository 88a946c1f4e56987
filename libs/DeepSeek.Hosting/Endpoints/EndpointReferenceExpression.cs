using System.Globalization;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>Properties of an endpoint.</summary>
public enum EndpointProperty
{
    /// <summary>Scheme, host and port.</summary>
    Url,

    /// <summary>Host name.</summary>
    Host,

    /// <summary>IPv4 address.</summary>
    IPV4Host,

    /// <summary>Public port.</summary>
    Port,

    /// <summary>Scheme.</summary>
    Scheme,

    /// <summary>Port of the process.</summary>
    TargetPort,

    /// <summary>Host and port.</summary>
    HostAndPort,

    /// <summary>"True" or "False".</summary>
    TlsEnabled,
}

/// <summary>One property of an endpoint, as an expression.</summary>
public class EndpointReferenceExpression(EndpointReference endpointReference, EndpointProperty property) : IExpressionValue, IValueWithReferences
{
    /// <summary>The endpoint.</summary>
    public EndpointReference Endpoint { get; } = endpointReference;

    /// <summary>The property.</summary>
    public EndpointProperty Property { get; } = property;

    /// <inheritdoc />
    public string ValueExpression => Endpoint.GetExpression(Property);

    IEnumerable<object> IValueWithReferences.References => [Endpoint];

    /// <summary>Gives the property's value, after waiting for the address where it needs one.</summary>
    public async ValueTask<string?> GetValueAsync(CancellationToken cancellationToken = default) => Property switch
    {
        EndpointProperty.Scheme => Endpoint.Scheme,
        EndpointProperty.TlsEnabled => Endpoint.TlsEnabled.ToString(),
        EndpointProperty.IPV4Host => "127.0.0.1",
        EndpointProperty.TargetPort when Endpoint.TargetPort is int port => port.ToString(CultureInfo.InvariantCulture),
        _ => Read(await Endpoint.EndpointAnnotation.AllocatedEndpointSnapshot.GetValueAsync(cancellationToken).ConfigureAwait(false)),
    };

    /// <summary>Gives the property's value.</summary>
    public ValueTask<string?> GetValueAsync(ValueProviderContext context, CancellationToken cancellationToken = default)
        => GetValueAsync(cancellationToken);

    private string? Read(AllocatedEndpoint allocated) => Property switch
    {
        EndpointProperty.Url => allocated.UriString,
        EndpointProperty.Host => allocated.Address,
        EndpointProperty.Port => allocated.Port.ToString(CultureInfo.InvariantCulture),
        EndpointProperty.HostAndPort => allocated.EndPointString,
        EndpointProperty.TargetPort => allocated.TargetPortExpression,
        _ => throw new InvalidOperationException($"The endpoint property {Property} has no value."),
    };
}
