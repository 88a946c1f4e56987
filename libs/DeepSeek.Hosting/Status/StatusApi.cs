using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Aspire.Hosting;

/// <summary>What the status page shows and does.</summary>
internal sealed class StatusApi(DistributedApplicationModel model, ResourceNotificationService notifications, ResourceLoggerService logs, IServiceProvider services)
{
    public void Map(WebApplication app, string title, string token)
    {
        var page = Page().Replace("{{title}}", WebUtility.HtmlEncode(title), StringComparison.Ordinal).Replace("{{token}}", token, StringComparison.Ordinal);
        app.MapGet("/", () => TypedResults.Text(page, "text/html; charset=utf-8"));
        app.MapGet("/api/resources", () => TypedResults.Json(new { resources = model.Resources.SelectMany(Describe) }));
        app.MapGet("/api/resources/{name}/logs", Logs);
        app.MapPost("/api/resources/{name}/{command}", CommandAsync);
    }

    private IEnumerable<object> Describe(IResource resource) => notifications.StatesOf(resource).Select(state => new
    {
        name = resource.Name,
        id = state.ResourceId,
        type = state.Snapshot.ResourceType,
        state = state.Snapshot.State?.Text,
        health = state.Snapshot.HealthStatus?.ToString(),
        exitCode = state.Snapshot.ExitCode,
        startedAt = state.Snapshot.StartTimeStamp,
        pid = state.Snapshot.Properties.FirstOrDefault(property => property.Name == "executable.pid")?.Value,
        urls = state.Snapshot.Urls.Select(url => url.Url),
        reports = state.Snapshot.HealthReports.Select(report => new { name = report.Name, status = report.Status?.ToString(), description = report.Description }),
        waitsFor = resource.Annotations.OfType<WaitAnnotation>().Select(wait => wait.Resource.Name).Distinct(),
        commands = resource is ProjectResource or ExecutableResource or ContainerResource ? new[] { "start", "stop", "restart" } : [],
    });

    private Results<JsonHttpResult<object>, NotFound> Logs(string name, string? after)
    {
        if (!model.Resources.Any(resource => string.Equals(resource.Name, name, StringComparison.OrdinalIgnoreCase)))
        {
            return TypedResults.NotFound();
        }

        var number = int.TryParse(after, NumberStyles.None, CultureInfo.InvariantCulture, out var given) ? given : 0;
        var lines = logs.LinesAfter(name, number);
        return TypedResults.Json<object>(new
        {
            lines = lines.Select(line => new { number = line.LineNumber, text = MergedLog.WithoutEscapes(line.Content), error = line.IsErrorMessage }),
            last = lines.Count > 0 ? lines[^1].LineNumber : number,
        });
    }

    private async Task<IResult> CommandAsync(string name, string command, CancellationToken cancellationToken)
    {
        var result = await services.GetRequiredService<ResourceCommandService>().ExecuteCommandAsync(name, command, cancellationToken).ConfigureAwait(false);
        return result.Success ? TypedResults.NoContent() : TypedResults.Problem(result.Message, statusCode: StatusCodes.Status404NotFound);
    }

    private static string Page()
    {
        using var stream = typeof(StatusApi).Assembly.GetManifestResourceStream("status.html")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
