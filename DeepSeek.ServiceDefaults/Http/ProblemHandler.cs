using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Mvc;
using Npgsql;
using Polly.CircuitBreaker;
using Polly.Timeout;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Turns whatever an endpoint threw into a problem document.</summary>
internal sealed partial class ProblemHandler(IProblemDetailsService problems, ILogger<ProblemHandler> logger) : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext http, Exception exception, CancellationToken cancellationToken)
    {
        if (http.RequestAborted.IsCancellationRequested && exception is OperationCanceledException or IOException)
        {
            LogAborted(http.Request.Method, http.Request.Path);
            http.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var problem = ToProblem(exception) ?? (HoldsNul(exception) ? NulProblem(http.Request) : null);
        if (problem is null)
        {
            LogFault(exception, http.Request.Method, http.Request.Path);
            problem = new ApiProblem(StatusCodes.Status500InternalServerError, "Internal fault",
                "The service hit a fault of its own; its log has the details under this trace id.");
        }
        else if (problem.Status >= 500)
        {
            LogUnavailable(http.Request.Method, http.Request.Path, problem.Detail, exception.Message);
        }

        return await WriteAsync(problems, http, problem);
    }

    internal static async ValueTask<bool> WriteAsync(IProblemDetailsService problems, HttpContext http, ApiProblem problem)
    {
        var details = new ProblemDetails { Status = problem.Status, Title = problem.Title, Detail = problem.Detail };
        if (problem.Errors.Count > 0)
        {
            details.Extensions["errors"] = problem.Errors;
        }

        foreach (var (name, value) in problem.Extensions)
        {
            details.Extensions[name] = value;
        }

        http.Response.StatusCode = problem.Status;
        if (problem.RetryAfter is { } wait)
        {
            http.Response.Headers.RetryAfter = Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }

        return await problems.TryWriteAsync(new ProblemDetailsContext { HttpContext = http, ProblemDetails = details });
    }

    private static ApiProblem? ToProblem(Exception exception) => exception switch
    {
        ApiProblem problem => problem,
        BadHttpRequestException { InnerException: JsonException json } => JsonFaults.ToProblem(json),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } => Problems.TooLarge("The request body is larger than this endpoint accepts."),
        BadHttpRequestException bad => BindingFaults.ToProblem(bad),
        BrokenCircuitException or TimeoutRejectedException => Problems.Unavailable("A service this one needs does not answer; try again shortly.", TimeSpan.FromSeconds(5)),
        HttpRequestException { StatusCode: null } => Problems.Unavailable("A service this one needs cannot be reached; try again shortly.", TimeSpan.FromSeconds(5)),
        _ when IsDatabaseAway(exception) => Problems.Unavailable("The service's database cannot be reached; try again shortly.", TimeSpan.FromSeconds(5)),
        _ => null,
    };

    private static bool IsDatabaseAway(Exception? exception)
    {
        for (; exception is not null; exception = exception.InnerException)
        {
            if (exception is NpgsqlException { IsTransient: true } or NpgsqlException { InnerException: SocketException or IOException })
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>PostgreSQL's texts hold every character but U+0000, and its JSON neither.</summary>
    private static bool HoldsNul(Exception? exception)
    {
        for (; exception is not null; exception = exception.InnerException)
        {
            if (exception is PostgresException { SqlState: PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter })
            {
                return true;
            }
        }

        return false;
    }

    private static ApiProblem NulProblem(HttpRequest request) => Problems.Invalid(
        request.Query.FirstOrDefault(parameter => parameter.Value.Any(value => value?.Contains('\0') == true)).Key ?? "body",
        "holds the character U+0000 (NUL) in a text; take it out.");

    internal static void Customize(ProblemDetailsContext context)
    {
        context.ProblemDetails.Instance ??= context.HttpContext.Request.Path;
        context.ProblemDetails.Extensions["traceId"] = Activity.Current?.TraceId.ToString() ?? context.HttpContext.TraceIdentifier;
        context.ProblemDetails.Detail ??= context.ProblemDetails.Status switch
        {
            401 => "Send an API key as 'Authorization: Bearer dsk_…' or 'X-Api-Key: dsk_…'.",
            403 => "The key's role does not allow this.",
            404 => "There is nothing at this address.",
            405 => "This address does not take that method.",
            415 => "This address does not take that content type.",
            _ => null,
        };
    }

    [LoggerMessage(LogLevel.Error, "{Method} {Path} failed")]
    private partial void LogFault(Exception exception, string method, string path);

    [LoggerMessage(LogLevel.Warning, "{Method} {Path}: {Detail} ({Cause})")]
    private partial void LogUnavailable(string method, string path, string detail, string cause);

    [LoggerMessage(LogLevel.Debug, "{Method} {Path}: the client went away")]
    private partial void LogAborted(string method, string path);
}
