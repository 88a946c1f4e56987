namespace Aspire.Hosting;

/// <summary>Adds services outside the application.</summary>
public static class ExternalServiceBuilderExtensions
{
    /// <summary>Adds a service by URL; it must be absolute and end in "/".</summary>
    public static IResourceBuilder<ExternalServiceResource> AddExternalService(this IDistributedApplicationBuilder builder, string name, string url)
        => builder.AddExternalService(name, new Uri(url));

    /// <summary>Adds a service by URL; it must be absolute and have the path "/".</summary>
    public static IResourceBuilder<ExternalServiceResource> AddExternalService(this IDistributedApplicationBuilder builder, string name, Uri uri)
    {
        if (!uri.IsAbsoluteUri || uri.AbsolutePath != "/")
        {
            throw new ArgumentException($"The URI of external service '{name}' must be absolute and have the path '/'.", nameof(uri));
        }

        return builder.AddResource(new ExternalServiceResource(name, uri)).ExcludeFromManifest();
    }

    /// <summary>Adds a service whose URL is a parameter.</summary>
    public static IResourceBuilder<ExternalServiceResource> AddExternalService(this IDistributedApplicationBuilder builder, string name, IResourceBuilder<ParameterResource> urlParameter)
        => builder.AddResource(new ExternalServiceResource(name, urlParameter.Resource)).ExcludeFromManifest();
}

/// <summary>A service outside the application.</summary>
public sealed class ExternalServiceResource : Resource
{
    /// <summary>A service at a fixed URL.</summary>
    public ExternalServiceResource(string name, Uri uri) : base(name) => Uri = uri;

    /// <summary>A service whose URL is a parameter.</summary>
    public ExternalServiceResource(string name, ParameterResource urlParameter) : base(name) => UrlParameter = urlParameter;

    /// <summary>The URL, if it is fixed.</summary>
    public Uri? Uri { get; }

    /// <summary>The parameter that holds the URL, if it is not fixed.</summary>
    public ParameterResource? UrlParameter { get; }

    internal object UrlValue => (object?)UrlParameter ?? Uri!.ToString();
}
