using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.ApplicationModel
{
    /// <summary>Names a health check of the resource.</summary>
    public class HealthCheckAnnotation(string key) : IResourceAnnotation
    {
        /// <summary>Name of the registered check.</summary>
        public string Key { get; } = key;
    }
}

namespace Aspire.Hosting
{
    public static partial class ResourceBuilderExtensions
    {
        /// <summary>The resource is healthy only if a registered check says so.</summary>
        public static IResourceBuilder<T> WithHealthCheck<T>(this IResourceBuilder<T> builder, string key) where T : IResource
            => builder.Resource.Annotations.OfType<HealthCheckAnnotation>().Any(a => a.Key == key)
                ? throw new DistributedApplicationException($"Resource '{builder.Resource.Name}' already has a health check with key '{key}'.")
                : builder.WithAnnotation(new HealthCheckAnnotation(key));

        /// <summary>The resource is healthy only if a GET of <paramref name="path"/> ("/") answers <paramref name="statusCode"/> (200).</summary>
        public static IResourceBuilder<T> WithHttpHealthCheck<T>(this IResourceBuilder<T> builder, string? path = null, int? statusCode = null, string? endpointName = null) where T : IResourceWithEndpoints
            => builder.WithHttpHealthCheck(endpointName is null ? null : () => builder.GetEndpoint(endpointName), path, statusCode);

        /// <summary>The resource is healthy only if a GET of <paramref name="path"/> ("/") answers <paramref name="statusCode"/> (200).</summary>
        public static IResourceBuilder<T> WithHttpHealthCheck<T>(this IResourceBuilder<T> builder, Func<EndpointReference>? endpointSelector, string? path = null, int? statusCode = null) where T : IResourceWithEndpoints
        {
            var endpoint = endpointSelector is not null
                ? endpointSelector()
                : builder.Resource.GetEndpoints().FirstOrDefault(e => e.IsHttp || e.IsHttps)
                    ?? throw new DistributedApplicationException($"Could not create HTTP health check for resource '{builder.Resource.Name}' as no endpoint was found matching one of the specified names: http, https");
            if (!endpoint.Exists || !(endpoint.IsHttp || endpoint.IsHttps))
            {
                throw new DistributedApplicationException($"Could not create HTTP health check for resource '{builder.Resource.Name}' as the endpoint with name '{endpoint.EndpointName}' is not an HTTP endpoint.");
            }

            path ??= "/";
            statusCode ??= 200;
            var key = $"{builder.Resource.Name}_{endpoint.EndpointName}_{path}_{statusCode}_check";
            builder.ApplicationBuilder.Services.AddHealthChecks()
                .Add(new HealthCheckRegistration(key, _ => new HttpHealthCheck(endpoint, path, statusCode.Value), failureStatus: null, tags: null));
            return builder.WithHealthCheck(key);
        }
    }
}
