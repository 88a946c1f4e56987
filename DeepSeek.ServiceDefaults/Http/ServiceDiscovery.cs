namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Addresses of services from the injected <c>services__&lt;name&gt;__http__&lt;n&gt;</c>.</summary>
public sealed class ServiceDiscovery(IConfiguration configuration)
{
    private int _turn;

    /// <summary>All known instances of a service, in the order of their index; empty when none is configured.</summary>
    public IReadOnlyList<Uri> Instances(string service) =>
        new[] { "http", "https" }
            .SelectMany(scheme => configuration.GetSection($"services:{service}:{scheme}").GetChildren()
                .OrderBy(instance => int.TryParse(instance.Key, out var index) ? index : int.MaxValue))
            .Where(instance => !string.IsNullOrEmpty(instance.Value))
            .Select(instance => new Uri(instance.Value!))
            .ToList();

    /// <summary>The next instance in turn; null when <paramref name="host"/> is not a known service.</summary>
    public Uri? Next(string host)
    {
        var instances = Instances(host);
        return instances.Count == 0 ? null : instances[(int)((uint)Interlocked.Increment(ref _turn) % (uint)instances.Count)];
    }
}

/// <summary>Replaces a service's name in the address by one of its instances; innermost, so that each retry may reach another.</summary>
internal sealed class DiscoveryHandler(ServiceDiscovery discovery) : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var logical = request.RequestUri!;
        if (discovery.Next(logical.Host) is not { } instance)
        {
            return logical.IsDefaultPort && !logical.Host.Contains('.') && logical.Host != "localhost"
                ? throw new InvalidOperationException(
                    $"No address is known for the service '{logical.Host}'; set services__{logical.Host}__http__0 (the application host injects it for referenced services).")
                : await base.SendAsync(request, cancellationToken);
        }

        request.RequestUri = new UriBuilder(logical) { Scheme = instance.Scheme, Host = instance.Host, Port = instance.Port }.Uri;
        try
        {
            return await base.SendAsync(request, cancellationToken);
        }
        finally
        {
            request.RequestUri = logical;
        }
    }
}
