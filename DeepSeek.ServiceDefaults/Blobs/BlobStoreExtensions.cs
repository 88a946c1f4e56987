using Microsoft.Extensions.DependencyInjection.Extensions;

namespace DeepSeek.ServiceDefaults;

public static class BlobStoreExtensions
{
    /// <summary>Adds the <see cref="BlobClient"/> of the registry's blob store and its verified cache on the local disk.</summary>
    public static WebApplicationBuilder AddBlobStore(this WebApplicationBuilder builder)
    {
        var shared = builder.DataDirectory("cache");
        builder.Services.AddOptions<BlobStoreOptions>().BindConfiguration(BlobStoreOptions.Section)
            .PostConfigure(options => options.CacheDirectory ??= Path.Combine(shared, "blobs"))
            .ValidateDataAnnotations().ValidateOnStart();
        // BlobClient repeats transfers itself, from where they broke.
        builder.AddServiceClient<BlobTransport>("registry", options => options.Retries = 1);
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.TryAddSingleton<BlobCache>();
        builder.Services.TryAddSingleton<BlobClient>();
        return builder;
    }
}

/// <summary>Names the HttpClient that <see cref="BlobClient"/> takes from the factory.</summary>
internal sealed class BlobTransport(HttpClient http)
{
    public const string Name = nameof(BlobTransport);

    public HttpClient Http { get; } = http;
}
