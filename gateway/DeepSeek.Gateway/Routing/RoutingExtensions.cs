using System.Security.Claims;
using DeepSeek.Gateway.Keys;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.Extensions.Options;
using Yarp.ReverseProxy.Configuration;
using Yarp.ReverseProxy.Transforms;

namespace DeepSeek.Gateway.Routing;

internal static class RoutingExtensions
{
    public static void AddRouting(this WebApplicationBuilder builder)
    {
        builder.Services.AddReverseProxy()
            .ConfigureHttpClient((_, handler) =>
            {
                handler.ConnectTimeout = TimeSpan.FromSeconds(5);
                handler.AllowAutoRedirect = false;
                handler.UseCookies = false;
            })
            .AddTransforms(transforms => transforms.AddRequestTransform(VouchAsync));
        builder.Services.AddSingleton<IProxyConfigProvider>(services => new InMemoryConfigProvider(
            Routes.Create(),
            Routes.Clusters(services.GetRequiredService<ServiceDiscovery>(), services.GetRequiredService<IOptions<GatewayOptions>>().Value.ActivityTimeout)));
    }

    public static void MapRouting(this WebApplication app) => app.MapReverseProxy(proxy =>
    {
        proxy.UseMiddleware<ForwardingFaults>();
        proxy.UseLoadBalancing();
    });

    /// <summary>The key stays here; the service gets a token that says whose it was.</summary>
    private static ValueTask VouchAsync(RequestTransformContext context)
    {
        var user = context.HttpContext.User;
        var tokens = context.HttpContext.RequestServices.GetRequiredService<IdentityTokens>();
        var headers = context.ProxyRequest.Headers;
        headers.Remove("Authorization");
        headers.Remove(ApiKeyHandler.Header);
        headers.Remove(IdentityTokens.Header);
        headers.Add(IdentityTokens.Header, tokens.Mint(new PlatformIdentity
        {
            Sub = user.Actor(),
            Name = user.FindFirstValue(ClaimTypes.Name)!,
            Role = user.FindFirstValue(ClaimTypes.Role)!,
            Key = user.ApiKeyId(),
        }, IdentityTokens.RequestLife));
        return ValueTask.CompletedTask;
    }
}
