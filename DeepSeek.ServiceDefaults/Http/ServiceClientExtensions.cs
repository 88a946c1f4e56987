using DeepSeek.ServiceDefaults.Http;

namespace DeepSeek.ServiceDefaults;

public static class ServiceClientExtensions
{
    /// <summary>
    /// A typed HttpClient with the base address <c>http://&lt;service&gt;</c>: finds the service, signs the calls, retries idempotent
    /// requests whose body can be sent again, and stops calling a service that keeps failing.
    /// </summary>
    public static IHttpClientBuilder AddServiceClient<TClient>(
        this IHostApplicationBuilder builder, string service, Action<ServiceClientOptions>? configure = null)
        where TClient : class =>
        builder.AddServiceClient<TClient>(typeof(TClient).Name, service, configure);

    private static IHttpClientBuilder AddServiceClient<TClient>(
        this IHostApplicationBuilder builder, string name, string service, Action<ServiceClientOptions>? configure)
        where TClient : class
    {
        var options = new ServiceClientOptions();
        configure?.Invoke(options);
        builder.Services.TryAddSingleton<ServiceDiscovery>();
        builder.Services.TryAddTransient<DiscoveryHandler>();
        builder.Services.TryAddTransient<ServiceIdentityHandler>();
        var resilience = new ResiliencePipelines(service, options);
        return builder.Services.AddHttpClient<TClient>(name, client =>
            {
                client.BaseAddress = new Uri($"http://{service}");
                client.Timeout = Timeout.InfiniteTimeSpan; // The resilience handler bounds each attempt.
            })
            .ConfigurePrimaryHttpMessageHandler(() => new SocketsHttpHandler
            {
                AllowAutoRedirect = false,
                ConnectTimeout = TimeSpan.FromSeconds(5),
                PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            })
            .AddHttpMessageHandler(() => new ResilienceHandler(resilience))
            .AddHttpMessageHandler<ServiceIdentityHandler>()
            .AddHttpMessageHandler<DiscoveryHandler>();
    }
}

/// <summary>How patient a client of another service is.</summary>
public sealed class ServiceClientOptions
{
    /// <summary>Time from sending to the response's headers, per attempt; a streamed upload is not bounded. Default 30 s.</summary>
    public TimeSpan AttemptTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Attempts after the first, for idempotent requests. Default 4 (about 6 s in all).</summary>
    public int Retries { get; set; } = 4;

    /// <summary>By which timeouts and pauses are measured.</summary>
    public TimeProvider Time { get; set; } = TimeProvider.System;
}
