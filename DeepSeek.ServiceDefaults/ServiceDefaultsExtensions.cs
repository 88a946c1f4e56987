using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Telemetry;

namespace DeepSeek.ServiceDefaults;

/// <summary>What every service shares. A Program calls <see cref="AddServiceDefaults"/> first and <see cref="MapServiceDefaults"/> right after Build.</summary>
public static class ServiceDefaultsExtensions
{
    /// <summary>Largest request body a service reads unless an endpoint says otherwise: 32 MiB.</summary>
    public const long DefaultRequestBodyLimit = 32L << 20;

    public static WebApplicationBuilder AddServiceDefaults(this WebApplicationBuilder builder, string area)
    {
        var service = new ServiceArea(area);
        builder.Services.AddSingleton(service);
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.AddTelemetry(service);
        builder.AddPlatformIdentity();
        builder.AddHttpDefaults();
        builder.Services.AddHealthChecks();
        // The reply of /health names what is wrong; a log line for every probe while a service starts would only frighten.
        builder.Logging.AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = DefaultRequestBodyLimit;
        });
        return builder;
    }

    /// <summary>Problems, authentication, authorization, health and OpenAPI.</summary>
    /// <param name="app">The service.</param>
    /// <param name="afterAuthentication">Middleware that needs to know the caller but not what it may do.</param>
    public static WebApplication MapServiceDefaults(this WebApplication app, Action<WebApplication>? afterAuthentication = null)
    {
        app.UseExceptionHandler();
        app.UseStatusCodePages();
        app.UseBoundedBodies();
        app.UseAuthentication();
        afterAuthentication?.Invoke(app);
        app.UseAuthorization();
        app.MapHealth();
        app.MapOpenApi("/openapi/{documentName}.json").AllowAnonymous();
        return app;
    }
}
