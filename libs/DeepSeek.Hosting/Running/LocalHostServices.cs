using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>Registers what runs or publishes an application.</summary>
internal static class LocalHostServices
{
    public static void AddLocalHost(this HostApplicationBuilder host, DistributedApplicationOptions options, DistributedApplicationExecutionContext execution, DistributedApplicationModel model, IDistributedApplicationEventing eventing)
    {
        var services = host.Services;
        services.AddSingleton(options);
        services.AddSingleton(execution);
        services.AddSingleton(model);
        services.AddSingleton(eventing);
        services.AddSingleton(new ResourceNotificationService
        {
            DefaultWaitBehavior = options.DisableDashboard ? WaitBehavior.StopOnResourceUnavailable : WaitBehavior.WaitOnResourceUnavailable,
        });
        services.AddSingleton(_ => LocalData.From(host.Configuration));
        services.AddSingleton(_ => new LocalHostSettings(host.Configuration));
        services.AddSingleton(_ => new MergedLog(Console.Out, enabled: !options.DisableDashboard || options.EnableResourceLogging));
        services.AddSingleton(provider => new ResourceLoggerService(provider.GetRequiredService<MergedLog>()));
        services.AddSingleton(provider => new ResourceCommandService(provider.GetRequiredService<ResourceControllers>(), provider.GetRequiredService<ResourceNotificationService>()));
        services.AddSingleton(new ProjectBuildConfiguration(AppHost.BuildConfiguration(AppHost.FindAssembly(options))));
        services.AddSingleton<Publishing.ManifestPublisher>();
        services.AddSingleton<Watchdog>();
        services.AddSingleton<ProcessLauncher>();
        services.AddSingleton<EndpointAllocator>();
        services.AddSingleton<EndpointFile>();
        services.AddSingleton<ProcessSpecs>();
        services.AddSingleton<ResourceControllers>();
        services.AddSingleton<HealthMonitor>();
        services.AddSingleton<StartupReport>();
        services.AddSingleton<PassiveResources>();
        services.AddSingleton<StatusApi>();
        services.AddSingleton<StatusServer>();
        services.AddHealthChecks();
        services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromMinutes(1));
        services.AddSingleton<IHostLifetime, QuietLifetime>();
        services.AddSingleton(TimeProvider.System);
        AddLogging(host);
        if (execution.IsRunMode)
        {
            services.AddHostedService<ApplicationRunner>();
        }
    }

    private static void AddLogging(HostApplicationBuilder host)
    {
        host.Logging.ClearProviders();
        host.Logging.AddFilter("Microsoft", LogLevel.Warning);
        host.Logging.AddFilter("System", LogLevel.Warning);
        // Each resource's monitor tells of its health; the checks' own log would repeat every failed poll.
        host.Logging.AddFilter(typeof(HealthCheckService).Namespace, LogLevel.None);
        host.Services.AddSingleton<ILoggerProvider, MergedLogProvider>();
    }
}
