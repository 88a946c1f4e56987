using System.Text.Json;

namespace Aspire.Hosting.Publishing;

/// <summary>Gives ports to endpoints that need one in a deployment: 8000 and upward.</summary>
internal sealed class ManifestPorts
{
    private readonly HashSet<int> _used = [];
    private int _next = 8000;

    public void Use(int port) => _used.Add(port);

    public int Allocate()
    {
        while (!_used.Add(_next))
        {
            _next++;
        }

        return _next++;
    }
}

/// <summary>Writes the endpoints of a resource.</summary>
internal static class ManifestBindings
{
    public static void Write(Utf8JsonWriter writer, IResource resource, ManifestPorts ports)
    {
        var endpoints = resource.Annotations.OfType<EndpointAnnotation>().ToArray();
        if (endpoints.Length == 0)
        {
            return;
        }

        writer.WriteStartObject("bindings");
        foreach (var endpoint in endpoints)
        {
            var target = TargetPort(resource, endpoint, ports);
            writer.WriteStartObject(endpoint.Name);
            writer.WriteString("scheme", endpoint.UriScheme);
            writer.WriteString("protocol", endpoint.Protocol.ToString().ToLowerInvariant());
            writer.WriteString("transport", endpoint.Transport);
            if (endpoint is { Port: int port, FromLaunchProfile: false } && port != target)
            {
                ports.Use(port);
                writer.WriteNumber("port", port);
            }

            if (target is int number)
            {
                writer.WriteNumber("targetPort", number);
            }

            if (endpoint.IsExternal)
            {
                writer.WriteBoolean("external", true);
            }

            writer.WriteEndObject();
        }

        writer.WriteEndObject();
    }

    private static int? TargetPort(IResource resource, EndpointAnnotation endpoint, ManifestPorts ports)
    {
        if (endpoint.TargetPort is int fixedPort)
        {
            ports.Use(fixedPort);
            return fixedPort;
        }

        // The deployment chooses the ports of a project's first http and https endpoint.
        var leftToDeployment = resource is ProjectResource && endpoint.UriScheme is "http" or "https"
            && resource.Annotations.OfType<EndpointAnnotation>().First(e => e.UriScheme == endpoint.UriScheme) == endpoint;
        return resource is ContainerResource ? endpoint.Port : leftToDeployment ? null : ports.Allocate();
    }
}
