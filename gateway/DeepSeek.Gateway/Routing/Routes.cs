using DeepSeek.Contracts;
using DeepSeek.ServiceDefaults.Http;
using Yarp.ReverseProxy.Configuration;
using Yarp.ReverseProxy.Forwarder;
using Yarp.ReverseProxy.LoadBalancing;

namespace DeepSeek.Gateway.Routing;

/// <summary>Which service answers for which resource.</summary>
internal static class Routes
{
    /// <summary>Path prefix and service.</summary>
    public static IReadOnlyList<(string Prefix, string Service)> Table { get; } =
    [
        ("/api/v1/datasets", ResourceNames.Preprocessing),
        ("/api/v1/runs", ResourceNames.Training),
        ("/api/v1/models", ResourceNames.Registry),
        ("/api/v1/registry", ResourceNames.Registry),
        ("/api/v1/blobs", ResourceNames.Registry),
        ("/api/v1/audit", ResourceNames.Registry),
        ("/api/v1/compressions", ResourceNames.Compression),
        ("/api/v1/deployments", ResourceNames.Inference),
        ("/api/v1/predictions", ResourceNames.Inference),
        ("/v2", ResourceNames.Inference),
        ("/api/v1/explanations", ResourceNames.Explainability),
        ("/api/v1/jobs", ResourceNames.Scheduling),
    ];

    public static IEnumerable<string> Services => Table.Select(route => route.Service).Distinct();

    public static IReadOnlyList<RouteConfig> Create() => Table.Select(route => new RouteConfig
    {
        RouteId = route.Prefix,
        ClusterId = route.Service,
        Match = new RouteMatch { Path = route.Prefix + "/{**rest}" },
        // Size and rate are the gateway's own middleware; 0 would mean YARP's default.
        MaxRequestBodySize = null,
    }).ToList();

    public static IReadOnlyList<ClusterConfig> Clusters(ServiceDiscovery discovery, TimeSpan activityTimeout) =>
        Services.Select(service => new ClusterConfig
        {
            ClusterId = service,
            LoadBalancingPolicy = LoadBalancingPolicies.PowerOfTwoChoices,
            HttpRequest = new ForwarderRequestConfig { ActivityTimeout = activityTimeout, AllowResponseBuffering = false },
            Destinations = discovery.Instances(service)
                .Select((address, index) => (Name: $"{service}-{index}", Config: new DestinationConfig { Address = address.AbsoluteUri }))
                .ToDictionary(destination => destination.Name, destination => destination.Config),
        }).ToList();
}
