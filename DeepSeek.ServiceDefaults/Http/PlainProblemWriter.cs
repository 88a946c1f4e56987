using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>
/// Writes problem documents for clients that did not ask for JSON, such as readers of an event stream: a fault told in an unexpected format
/// is better than one not told (RFC 9110 §12.4.1). The framework's own writer comes first and refuses those.
/// </summary>
internal sealed class PlainProblemWriter(IOptions<ProblemDetailsOptions> options) : IProblemDetailsWriter
{
    public bool CanWrite(ProblemDetailsContext context) => true;

    public async ValueTask WriteAsync(ProblemDetailsContext context)
    {
        options.Value.CustomizeProblemDetails?.Invoke(context);
        await context.HttpContext.Response.WriteAsJsonAsync(context.ProblemDetails, PlatformJson.Options, "application/problem+json", context.HttpContext.RequestAborted);
    }
}
