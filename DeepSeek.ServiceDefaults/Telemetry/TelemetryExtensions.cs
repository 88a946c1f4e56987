using System.Diagnostics;
using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace DeepSeek.ServiceDefaults.Telemetry;

internal static class TelemetryExtensions
{
    private static readonly string[] s_sources = ["Microsoft.AspNetCore", "System.Net.Http", "Npgsql", "MassTransit", "DeepSeek.*"];
    private static readonly string[] s_meters =
    [
        "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "Microsoft.AspNetCore.Diagnostics",
        "System.Net.Http", "System.Runtime", "Npgsql", "MassTransit", "Polly", "DeepSeek.*",
    ];

    internal static void AddTelemetry(this WebApplicationBuilder builder, ServiceArea area)
    {
        builder.Logging.ClearProviders();
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss.fff ";
            console.UseUtcTimestamp = true;
        });
        foreach (var (category, level) in Levels)
        {
            builder.Logging.AddFilter(category, level);
        }

        // Without a listener the libraries make no activities, and neither logs nor messages could carry a trace id.
        builder.Services.AddHostedService<TracePropagation>();
        if (string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]))
        {
            return;
        }

        var resource = Resource(builder.Configuration, area);
        builder.Logging.AddOpenTelemetry(logs =>
        {
            logs.SetResourceBuilder(resource);
            logs.IncludeFormattedMessage = true;
            logs.IncludeScopes = true;
            logs.AddOtlpExporter();
        });
        builder.Services.AddHostedService(_ => new Exporters(resource));
    }

    private static IEnumerable<(string Category, LogLevel Level)> Levels =>
    [
        ("Microsoft", LogLevel.Warning),
        ("Microsoft.Hosting.Lifetime", LogLevel.Information),
        // The exception handler already logs what is a fault and what is not.
        ("Microsoft.AspNetCore.Diagnostics.ExceptionHandlerMiddleware", LogLevel.None),
        ("DeepSeek.ServiceDefaults.Identity.IdentityHandler", LogLevel.Warning),
        ("System.Net.Http.HttpClient", LogLevel.Warning),
        ("Polly", LogLevel.Warning),
        // A send that fails is told by the outbox, which knows whether it matters.
        ("MassTransit", LogLevel.None),
        ("MassTransit.ReceiveTransport", LogLevel.Error),
        // A command that fails throws, and whoever catches it knows whether it matters.
        ("Microsoft.EntityFrameworkCore.Database.Command", LogLevel.None),
        ("Microsoft.EntityFrameworkCore.Update", LogLevel.None),
        ("Microsoft.EntityFrameworkCore.Query", LogLevel.Error),
        ("Npgsql", LogLevel.Warning),
        ("Yarp", LogLevel.Error),
    ];

    private static ResourceBuilder Resource(IConfiguration configuration, ServiceArea area)
    {
        var resource = ResourceBuilder.CreateDefault();
        return string.IsNullOrEmpty(configuration["OTEL_SERVICE_NAME"]) ? resource.AddService(area.TelemetryName) : resource;
    }

    /// <summary>OpenTelemetry.Extensions.Hosting would build these two with the host; here the host only holds and flushes them.</summary>
    private sealed class Exporters(ResourceBuilder resource) : IHostedLifecycleService, IDisposable
    {
        private TracerProvider? _traces;
        private MeterProvider? _metrics;

        public Task StartingAsync(CancellationToken cancellationToken)
        {
            _traces = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource)
                .AddSource(s_sources).AddProcessor(new HealthFilter()).AddOtlpExporter().Build();
            _metrics = Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource)
                .AddMeter(s_meters).AddOtlpExporter().Build();
            return Task.CompletedTask;
        }

        public void Dispose()
        {
            _traces?.Dispose();
            _metrics?.Dispose();
        }

        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Health probes come every second and say nothing: they are not exported.</summary>
    private sealed class HealthFilter : BaseProcessor<Activity>
    {
        public override void OnEnd(Activity activity)
        {
            if (activity.Kind == ActivityKind.Server
                && activity.GetTagItem("url.path") is HttpDefaultsExtensions.HealthPath or HttpDefaultsExtensions.AlivePath)
            {
                activity.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            }
        }
    }

    private sealed class TracePropagation : IHostedLifecycleService, IDisposable
    {
        private readonly ActivityListener _listener = new()
        {
            ShouldListenTo = source => source.Name is "Microsoft.AspNetCore" or "System.Net.Http" or "MassTransit"
                || source.Name.StartsWith("DeepSeek.", StringComparison.Ordinal),
            Sample = (ref _) => ActivitySamplingResult.PropagationData,
        };

        public Task StartingAsync(CancellationToken cancellationToken)
        {
            ActivitySource.AddActivityListener(_listener);
            return Task.CompletedTask;
        }

        public void Dispose() => _listener.Dispose();

        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
