using DeepSeek.Contracts;
using DeepSeek.Gateway.Idempotency;
using DeepSeek.Gateway.Keys;
using DeepSeek.Gateway.Limits;
using DeepSeek.Gateway.OpenApi;
using DeepSeek.Gateway.Routing;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;

namespace DeepSeek.Gateway;

/// <summary>What the gateway is made of, in the order in which a request meets it.</summary>
internal static class GatewayApi
{
    public static void AddGateway(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<GatewayOptions>().BindConfiguration(GatewayOptions.Section)
            .ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton<GatewayMetrics>();
        builder.Services.AddSingleton<ServiceDiscovery>();
        builder.AddApiKeys();
        builder.AddCache(ResourceNames.Cache);
        builder.AddRouting();
        builder.AddMergedOpenApi();
    }

    /// <summary>Before anything is known of the caller.</summary>
    public static void UseGatewayBorder(this WebApplication app) => app.UseMiddleware<Border>();

    public static void UseRateLimit(this WebApplication app) => app.UseMiddleware<RateLimit>();

    /// <summary>After authorization: sizes, then repeats.</summary>
    public static void UseGatewayLimits(this WebApplication app)
    {
        app.UseMiddleware<BodyLimits>();
        app.UseMiddleware<IdempotencyKeys>();
    }

    public static void MapGatewayApi(this WebApplication app)
    {
        app.MapKeysApi();
        app.MapMergedOpenApi();
        app.MapRouting();
    }
}
