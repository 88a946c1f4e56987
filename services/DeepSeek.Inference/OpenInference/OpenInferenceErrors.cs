using System.Globalization;
using DeepSeek.Inference.Protocol;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.OpenInference;

/// <summary>The protocol's clients read <c>{"error": "…"}</c>: every fault below /v2 becomes that.</summary>
internal sealed partial class OpenInferenceErrors(ILogger<OpenInferenceErrors> logger) : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var http = context.HttpContext;
        try
        {
            return await next(context);
        }
        catch (InferenceException fault)
        {
            if (fault.RetryAfterSeconds is { } seconds)
            {
                http.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
            }

            return Error(fault.Status, fault.Message);
        }
        catch (ApiProblem problem)
        {
            return Error(problem.Status, problem.Detail);
        }
        catch (BadHttpRequestException fault)
        {
            return Error(fault.StatusCode, fault.Message);
        }
        catch (Exception fault) when (!http.RequestAborted.IsCancellationRequested && !http.Response.HasStarted)
        {
            LogFault(fault, http.Request.Method, http.Request.Path);
            return Error(StatusCodes.Status500InternalServerError, "The service hit a fault of its own; its log has the details.");
        }
    }

    public static IResult Error(int status, string message) => TypedResults.Json(new { error = message }, statusCode: status);

    [LoggerMessage(LogLevel.Error, "{Method} {Path} failed")]
    private partial void LogFault(Exception fault, string method, string path);
}
