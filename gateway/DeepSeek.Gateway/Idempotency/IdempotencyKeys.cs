using System.Security.Cryptography;
using System.Text;
using DeepSeek.Gateway.Limits;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;
using Yarp.ReverseProxy.Forwarder;

namespace DeepSeek.Gateway.Idempotency;

/// <summary>
/// <c>Idempotency-Key</c> on POST and PUT: a repeat within a day gets the first response again instead of doing the work again.
/// </summary>
/// <remarks>
/// 1. The key belongs to the API key that sent it. 2. What makes two requests the same: method, path and query, and of a JSON body its
/// bytes; an upload's bytes are not read twice, so there its content type and length stand for it. 3. While the first runs, a repeat gets
/// 409 with Retry-After; another request under the same key gets 422. 4. Kept are responses that a repeat would get again: not 5xx, 408, 409, 425, 429,
/// none over 1 MiB, and no server-sent events, which are passed on as they come; after those the key is free. 5. A success that says <c>Cache-Control: no-store</c> holds a secret: only its status and
/// Location are kept, and a repeat gets 409. 6. Whether the client waited for the response does not matter, but a service that broke off
/// does: the key is free again, and as the service gets it too, it can tell the repeat by it. 7. Without Redis the promise cannot be kept, so such requests get 503.
/// </remarks>
internal sealed partial class IdempotencyKeys(
    RequestDelegate next, Cache cache, IOptions<GatewayOptions> options, GatewayMetrics metrics, TimeProvider time, ILogger<IdempotencyKeys> logger)
{
    public const string Header = "Idempotency-Key";
    public const string ReplayedHeader = "Idempotency-Replayed";
    private const int MaxKeyLength = 255;
    private const int MaxResponse = 1 << 20;
    /// <summary>
    /// A gateway that dies leaves the key taken for this long. A living one that cannot renew in time loses it: then the service, which gets
    /// the key too, tells the repeat.
    /// </summary>
    private static readonly TimeSpan s_claimLife = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_askAgain = TimeSpan.FromSeconds(1);

    public async Task InvokeAsync(HttpContext http)
    {
        var header = http.Request.Headers[Header];
        if (header.Count == 0 || !(HttpMethods.IsPost(http.Request.Method) || HttpMethods.IsPut(http.Request.Method))
            || http.User.ApiKeyId() is not { } principal)
        {
            await next(http);
            return;
        }

        if (header is not [{ Length: > 0 and <= MaxKeyLength } key])
        {
            throw Problems.Invalid(Header, $"must be sent once and have 1 to {MaxKeyLength} characters.");
        }

        var claim = new Claim(cache, $"deepseek:gateway:idempotency:{principal}:{Hex(Encoding.UTF8.GetBytes(key))}",
            await FingerprintAsync(http), s_claimLife, time);
        try
        {
            if (await claim.TakeAsync(http.RequestAborted) is { } other)
            {
                await AnswerAsync(http, claim, other);
                return;
            }
        }
        catch (CacheAwayException exception)
        {
            metrics.CacheAway("idempotency");
            throw Problems.Unavailable($"{Header} cannot be honoured now ({exception.Message}); repeat later, or send the request without it.", TimeSpan.FromSeconds(2));
        }

        await RunAsync(http, claim);
    }

    private async Task RunAsync(HttpContext http, Claim claim)
    {
        var client = http.Response.Body;
        await using var held = new HeldBody(client, MaxResponse, () => http.Response.ContentType?.StartsWith("text/event-stream", StringComparison.OrdinalIgnoreCase) == true);
        http.Response.Body = held;
        StoredResponse? response = null;
        await using var renewal = claim.Renew();
        try
        {
            await next(http);
            // A client that has gone asks again, and what the service has answered is done: only a service that broke off counts.
            if (held.IsHeld && IsFinal(http.Response.StatusCode) && http.GetForwarderErrorFeature() is null)
            {
                response = StoredResponse.Of(http.Response, held.Bytes);
            }
        }
        finally
        {
            http.Response.Body = client;
            await EndAsync(claim, response);
        }

        // Only now: a client that has the response may repeat at once and must find it stored.
        await held.ReleaseAsync(http.RequestAborted);
    }

    private async Task EndAsync(Claim claim, StoredResponse? response)
    {
        try
        {
            await claim.EndAsync(response, options.Value.IdempotencyLife);
        }
        catch (CacheAwayException exception)
        {
            LogNotStored(exception.Message);
        }
    }

    private async Task AnswerAsync(HttpContext http, Claim claim, ClaimState other)
    {
        if (other.Fingerprint != claim.Fingerprint)
        {
            throw Problems.Unprocessable($"This {Header} was used for another request; use a new one for each.");
        }

        if (other.Response is not { } stored)
        {
            throw Problems.Conflict($"The first request with this {Header} is still running; repeat in a moment.", s_askAgain);
        }

        metrics.Replayed();
        if (stored.Body is null)
        {
            await RefuseAsync(http, stored);
            return;
        }

        http.Response.StatusCode = stored.Status;
        foreach (var (name, value) in stored.Headers)
        {
            http.Response.Headers[name] = value;
        }

        http.Response.Headers[ReplayedHeader] = "true";
        await http.Response.Body.WriteAsync(stored.Body, http.RequestAborted);
    }

    private static Task RefuseAsync(HttpContext http, StoredResponse stored)
    {
        var made = stored.Headers.GetValueOrDefault("Location") ?? "what it made";
        http.Response.Headers[ReplayedHeader] = "true";
        if (stored.Headers.TryGetValue("Location", out var location))
        {
            http.Response.Headers.Location = location;
        }

        return http.WriteProblemAsync(Problems.Conflict(
            $"The first request with this {Header} succeeded ({stored.Status}), but the secret in its response is not kept: revoke {made} and create another."));
    }

    private static bool IsFinal(int status) => status < 500 && status is not (
        StatusCodes.Status408RequestTimeout or StatusCodes.Status409Conflict or 425 or StatusCodes.Status429TooManyRequests);

    private static async Task<string> FingerprintAsync(HttpContext http)
    {
        var request = http.Request;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{request.Method}\n{request.Path}{request.QueryString}\n"));
        if (request.HasJsonContentType() && !BodyLimits.IsUpload(request))
        {
            request.EnableBuffering(bufferThreshold: 256 << 10);
            var buffer = new byte[16 << 10];
            for (int read; (read = await request.Body.ReadAsync(buffer, http.RequestAborted)) > 0;)
            {
                hash.AppendData(buffer, 0, read);
            }

            request.Body.Position = 0;
        }
        else
        {
            // A boundary is chosen anew for each sending.
            var type = request.ContentType?.Split(';')[0];
            hash.AppendData(Encoding.UTF8.GetBytes($"{type}\n{(type?.StartsWith("multipart/", StringComparison.Ordinal) == true ? null : request.ContentLength)}"));
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static string Hex(byte[] bytes) => Convert.ToHexString(SHA256.HashData(bytes));

    [LoggerMessage(LogLevel.Warning, "{Reason} The response to an Idempotency-Key is not stored; a repeat will do the work again")]
    private partial void LogNotStored(string reason);
}
