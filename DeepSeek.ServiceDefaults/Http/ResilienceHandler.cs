using System.Net;
using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>One service's pipelines, shared by all requests of one client to it.</summary>
internal sealed class ResiliencePipelines
{
    private static readonly TimeSpan s_longestServerDelay = TimeSpan.FromSeconds(30);

    public ResiliencePipelines(string service, ServiceClientOptions options)
    {
        var breaker = new CircuitBreakerStrategyOptions<HttpResponseMessage>
        {
            Name = service,
            // Opens when 9 of 10 calls (at least 20) within 15 s found nobody there; a full service answering 429 is not broken.
            FailureRatio = 0.9,
            MinimumThroughput = 20,
            SamplingDuration = TimeSpan.FromSeconds(15),
            BreakDuration = TimeSpan.FromSeconds(3),
            ShouldHandle = new PredicateBuilder<HttpResponseMessage>()
                .Handle<HttpRequestException>()
                .HandleResult(response => response.StatusCode is HttpStatusCode.BadGateway or HttpStatusCode.GatewayTimeout),
        };
        Once = new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = options.Time }
            .AddRetry(Retry(options, unsentOnly: true)).AddCircuitBreaker(breaker).Build();
        Repeatable = new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = options.Time }
            .AddRetry(Retry(options, unsentOnly: false)).AddCircuitBreaker(breaker).AddTimeout(options.AttemptTimeout).Build();
        OnceTimed = new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = options.Time }
            .AddRetry(Retry(options, unsentOnly: true)).AddCircuitBreaker(breaker).AddTimeout(options.AttemptTimeout).Build();
    }

    /// <summary>A streamed body: sent once, for as long as it takes.</summary>
    public ResiliencePipeline<HttpResponseMessage> Once { get; }
    /// <summary>A body that could be sent again, but the verb is not idempotent.</summary>
    public ResiliencePipeline<HttpResponseMessage> OnceTimed { get; }
    public ResiliencePipeline<HttpResponseMessage> Repeatable { get; }

    private static RetryStrategyOptions<HttpResponseMessage> Retry(ServiceClientOptions options, bool unsentOnly) => new()
    {
        MaxRetryAttempts = options.Retries,
        BackoffType = DelayBackoffType.Exponential,
        Delay = TimeSpan.FromMilliseconds(200),
        MaxDelay = TimeSpan.FromSeconds(5),
        UseJitter = true,
        ShouldHandle = arguments => ValueTask.FromResult(arguments.Outcome switch
        {
            // Nothing was sent, so even a POST may be repeated.
            { Exception: HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError } } => true,
            _ when unsentOnly => false,
            { Exception: HttpRequestException or TimeoutRejectedException } => true,
            {
                Result.StatusCode: HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway
                or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout
            } => true,
            _ => false,
        }),
        DelayGenerator = arguments => ValueTask.FromResult(arguments.Outcome.Result?.Headers.RetryAfter?.Delta is { } asked
            ? asked < s_longestServerDelay ? asked : s_longestServerDelay
            : (TimeSpan?)null),
        OnRetry = arguments =>
        {
            arguments.Outcome.Result?.Dispose();
            return ValueTask.CompletedTask;
        },
    };
}

internal sealed class ResilienceHandler(ResiliencePipelines pipelines) : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var repeatable = request.Content is null or ByteArrayContent or ReadOnlyMemoryContent or System.Net.Http.Json.JsonContent;
        var idempotent = request.Method == HttpMethod.Get || request.Method == HttpMethod.Head || request.Method == HttpMethod.Put
            || request.Method == HttpMethod.Delete || request.Method == HttpMethod.Options;
        var pipeline = !repeatable ? pipelines.Once : idempotent ? pipelines.Repeatable : pipelines.OnceTimed;
        return await pipeline.ExecuteAsync(
            static async (state, token) => await state.Handler.SendOnceAsync(state.Request, token),
            (Handler: this, Request: request), cancellationToken);
    }

    private Task<HttpResponseMessage> SendOnceAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
        base.SendAsync(request, cancellationToken);
}
