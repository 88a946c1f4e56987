using DeepSeek.ServiceDefaults;
using Yarp.ReverseProxy.Forwarder;
using Yarp.ReverseProxy.Model;

namespace DeepSeek.Gateway.Routing;

/// <summary>Says which service did not answer, and how.</summary>
internal sealed partial class ForwardingFaults(RequestDelegate next, GatewayMetrics metrics, ILogger<ForwardingFaults> logger)
{
    private static readonly TimeSpan s_retryAfter = TimeSpan.FromSeconds(2);

    public async Task InvokeAsync(HttpContext http)
    {
        await next(http);
        var service = http.GetReverseProxyFeature().Cluster.Config.ClusterId;
        if (http.GetForwarderErrorFeature() is not { } fault || http.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        metrics.ForwardingFault(service);
        LogFault(service, fault.Error, fault.Exception?.Message);
        if (!http.Response.HasStarted)
        {
            http.Response.Clear();
            await http.WriteProblemAsync(ToProblem(service, fault));
        }
    }

    private static ApiProblem ToProblem(string service, IForwarderErrorFeature fault) => fault switch
    {
        _ when Causes(fault.Exception).Any(cause => cause is BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge }) =>
            Problems.TooLarge("The request body is larger than this address accepts."),
        { Error: ForwarderError.RequestBodyClient } =>
            new ApiProblem(StatusCodes.Status400BadRequest, "The request is not valid", "The request body ended early or is malformed."),
        { Error: ForwarderError.NoAvailableDestinations } =>
            Problems.Unavailable($"No instance of the service '{service}' is known.", s_retryAfter),
        { Error: ForwarderError.RequestTimedOut or ForwarderError.RequestBodyCanceled or ForwarderError.ResponseBodyCanceled } =>
            new ApiProblem(StatusCodes.Status504GatewayTimeout, "Timed out", $"The service '{service}' did not answer in time."),
        { Exception: HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError } } =>
            Problems.Unavailable($"The service '{service}' cannot be reached; it may be starting again.", s_retryAfter),
        _ => new ApiProblem(StatusCodes.Status502BadGateway, "Bad gateway", $"The service '{service}' broke off its answer; what it had done is not known."),
    };

    private static IEnumerable<Exception> Causes(Exception? exception) => exception switch
    {
        null => [],
        AggregateException many => many.InnerExceptions.SelectMany(Causes),
        _ => Causes(exception.InnerException).Prepend(exception),
    };

    [LoggerMessage(LogLevel.Warning, "The service {Service} did not answer: {Error} ({Reason})")]
    private partial void LogFault(string service, ForwarderError error, string? reason);
}
