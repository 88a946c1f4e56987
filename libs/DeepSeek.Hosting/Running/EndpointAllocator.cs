using System.Globalization;
using System.Net.Sockets;

namespace Aspire.Hosting;

/// <summary>
/// Gives every endpoint its address before anything starts. Endpoints of projects and executables get a proxy on their
/// public port; servers, of which there is one process that always takes the same port, listen on it themselves.
/// </summary>
internal sealed class EndpointAllocator(LocalHostSettings settings) : IDisposable
{
    private readonly Dictionary<EndpointAnnotation, ServiceProxy> _proxies = [];

    public void Allocate(IResource resource)
    {
        foreach (var endpoint in resource.Annotations.OfType<EndpointAnnotation>())
        {
            Check(resource, endpoint);
            var port = settings.RandomizePorts ? null : endpoint.Port;
            var proxied = IsProxied(resource, endpoint);
            var address = proxied ? Listen(resource, endpoint, port) : port ?? PortPool.Take();
            endpoint.AllocatedEndpoint = new AllocatedEndpoint(endpoint, "localhost", address, proxied ? Template(resource, endpoint) : address.ToString(CultureInfo.InvariantCulture));
        }
    }

    public static bool IsProxied(IResource resource, EndpointAnnotation endpoint) => resource is not ContainerResource && endpoint.IsProxied;

    /// <summary>Stands for the port of each process until it starts.</summary>
    public static string Template(IResource resource, EndpointAnnotation endpoint) => $"{{{{- portForServing \"{ServiceName(resource, endpoint)}\" -}}}}";

    public static string ServiceName(IResource resource, EndpointAnnotation endpoint)
        => resource.Annotations.OfType<EndpointAnnotation>().Count() == 1 ? resource.Name : $"{resource.Name}-{endpoint.Name}";

    public ServiceProxy? ProxyOf(EndpointAnnotation endpoint) => _proxies.GetValueOrDefault(endpoint);

    public void Dispose()
    {
        foreach (var proxy in _proxies.Values)
        {
            proxy.Dispose();
        }
    }

    private int Listen(IResource resource, EndpointAnnotation endpoint, int? wanted)
    {
        while (true)
        {
            var port = wanted ?? PortPool.Take();
            try
            {
                return (_proxies[endpoint] = ServiceProxy.Listen(port)).Port;
            }
            catch (SocketException fault) when (wanted is not null)
            {
                throw new DistributedApplicationException($"Port {port} of endpoint '{endpoint.Name}' of resource '{resource.Name}' cannot be used: {fault.Message}. Stop what uses it, or set DcpPublisher__RandomizePorts=true to take free ports.", fault);
            }
            catch (SocketException)
            {
                // Taken between the look and the grab.
            }
        }
    }

    private static void Check(IResource resource, EndpointAnnotation endpoint)
    {
        if (resource is ContainerResource)
        {
            return;
        }

        if (resource.GetReplicaCount() > 1 && (!endpoint.IsProxied || endpoint.TargetPort is not null))
        {
            throw new DistributedApplicationException($"Resource '{resource.Name}' uses multiple replicas and a proxy-less or fixed-port endpoint '{endpoint.Name}'. These features do not work together.");
        }

        if (endpoint is { IsProxied: true, Port: int port, TargetPort: int target } && port == target)
        {
            throw new DistributedApplicationException($"The endpoint '{endpoint.Name}' for resource '{resource.Name}' requested a proxy, and the value of 'Port' and 'TargetPort' is the same ({port}): give them different values, or set isProxied to false.");
        }
    }
}
