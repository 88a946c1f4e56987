using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>
/// The telemetry variables. They are Aspire's, with one difference: Aspire always has its dashboard to send to,
/// this host sends nowhere unless <c>ASPIRE_DASHBOARD_OTLP_ENDPOINT_URL</c>, <c>DOTNET_DASHBOARD_OTLP_ENDPOINT_URL</c>
/// or <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> names a receiver; without one the exporter's variables are left out.
/// </summary>
internal static class TelemetryVariables
{
    private static readonly string[] Receivers = ["ASPIRE_DASHBOARD_OTLP_ENDPOINT_URL", "DOTNET_DASHBOARD_OTLP_ENDPOINT_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"];

    public const string InstanceTemplate = "{{- index .Annotations \"otel-service-instance-id\" -}}";
    public const string NameTemplate = "{{- index .Annotations \"otel-service-name\" -}}";

    public static void AddForProject(EnvironmentCallbackContext context)
    {
        context.EnvironmentVariables["OTEL_DOTNET_EXPERIMENTAL_OTLP_RETRY"] = "in_memory";
        if (context.ExecutionContext.IsRunMode && context.ExecutionContext.ServiceProvider.GetRequiredService<IHostEnvironment>().IsDevelopment())
        {
            context.EnvironmentVariables["OTEL_DOTNET_EXPERIMENTAL_ASPNETCORE_DISABLE_URL_QUERY_REDACTION"] = "true";
            context.EnvironmentVariables["OTEL_DOTNET_EXPERIMENTAL_HTTPCLIENT_DISABLE_URL_QUERY_REDACTION"] = "true";
        }
    }

    public static void AddExporter(EnvironmentCallbackContext context, string protocol)
    {
        if (context.ExecutionContext.IsPublishMode)
        {
            return;
        }

        var services = context.ExecutionContext.ServiceProvider;
        var configuration = services.GetRequiredService<IConfiguration>();
        var endpoint = Receivers.Select(key => configuration[key]).FirstOrDefault(url => !string.IsNullOrEmpty(url));
        var variables = context.EnvironmentVariables;
        if (endpoint is not null)
        {
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint;
            variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol;
        }

        variables["OTEL_RESOURCE_ATTRIBUTES"] = $"service.instance.id={InstanceTemplate}";
        variables["OTEL_SERVICE_NAME"] = NameTemplate;
        if (endpoint is null)
        {
            return;
        }

        if (configuration["AppHost:OtlpApiKey"] is { } key)
        {
            variables["OTEL_EXPORTER_OTLP_HEADERS"] = $"x-otlp-api-key={key}";
        }

        if (services.GetRequiredService<IHostEnvironment>().IsDevelopment())
        {
            // Telemetry is wanted at once, and all of it.
            variables["OTEL_BLRP_SCHEDULE_DELAY"] = "1000";
            variables["OTEL_BSP_SCHEDULE_DELAY"] = "1000";
            variables["OTEL_METRIC_EXPORT_INTERVAL"] = "1000";
            variables["OTEL_TRACES_SAMPLER"] = "always_on";
            variables["OTEL_METRICS_EXEMPLAR_FILTER"] = "trace_based";
            variables["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true";
        }
    }
}

/// <summary>Wire format of telemetry.</summary>
public enum OtlpProtocol
{
    /// <summary>gRPC.</summary>
    Grpc,

    /// <summary>Protocol buffers over HTTP.</summary>
    HttpProtobuf,
}

/// <summary>Lets resources send telemetry.</summary>
public static class OtlpConfigurationExtensions
{
    /// <summary>Tells a resource where to send telemetry.</summary>
    public static IResourceBuilder<T> WithOtlpExporter<T>(this IResourceBuilder<T> builder) where T : IResourceWithEnvironment
        => builder.WithOtlpExporter(OtlpProtocol.Grpc);

    /// <summary>Tells a resource where to send telemetry, and in which format.</summary>
    public static IResourceBuilder<T> WithOtlpExporter<T>(this IResourceBuilder<T> builder, OtlpProtocol protocol) where T : IResourceWithEnvironment
        => builder.WithEnvironment(context => TelemetryVariables.AddExporter(context, protocol == OtlpProtocol.Grpc ? "grpc" : "http/protobuf"));
}
