using System.Text.Json;
using DeepSeek.ServiceDefaults.Http;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace DeepSeek.ServiceDefaults;

public static class HttpDefaultsExtensions
{
    public const string HealthPath = "/health";
    public const string AlivePath = "/alive";
    public const string OpenApiPath = "/openapi/v1.json";

    internal static void AddHttpDefaults(this WebApplicationBuilder builder)
    {
        builder.Services.ConfigureHttpJsonOptions(json => PlatformJson.MakeStrict(PlatformJson.Configure(json.SerializerOptions)));
        builder.Services.AddProblemDetails(options => options.CustomizeProblemDetails = ProblemHandler.Customize);
        builder.Services.AddSingleton<IProblemDetailsWriter, PlainProblemWriter>();
        builder.Services.AddExceptionHandler<ProblemHandler>();
        // Binding faults must reach ProblemHandler, which names the field; the default answers an empty 400.
        builder.Services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        // Endpoints between services are nobody else's business.
        builder.Services.AddOpenApi("v1", options => options.ShouldInclude = api =>
            !api.ActionDescriptor.EndpointMetadata.OfType<IAuthorizeData>().Any(policy => policy.Policy == Policies.Service));
    }

    /// <summary>Writes the problem as the response of a middleware or handler that cannot throw.</summary>
    public static async Task WriteProblemAsync(this HttpContext http, ApiProblem problem) =>
        await ProblemHandler.WriteAsync(http.RequestServices.GetRequiredService<IProblemDetailsService>(), http, problem);

    internal static void MapHealth(this WebApplication app)
    {
        app.MapHealthChecks(HealthPath, new HealthCheckOptions { ResponseWriter = WriteHealthAsync }).AllowAnonymous();
        app.MapHealthChecks(AlivePath, new HealthCheckOptions { Predicate = _ => false }).AllowAnonymous();
    }

    private static Task WriteHealthAsync(HttpContext http, HealthReport report)
    {
        http.Response.ContentType = "application/json";
        var checks = report.Entries.ToDictionary(check => check.Key, check => new
        {
            status = check.Value.Status.ToString(),
            description = check.Value.Description ?? check.Value.Exception?.Message,
        });
        return JsonSerializer.SerializeAsync(http.Response.Body, new { status = report.Status.ToString(), checks }, PlatformJson.Options, http.RequestAborted);
    }
}
