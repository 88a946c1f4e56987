using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Client;

/// <summary>
/// One call: JSON in and out, problems as exceptions. A call that can be sent again (a read, or a write with its idempotency key)
/// is repeated when the platform says when (429, 503 with Retry-After), when a part of it restarts (502, 503, 504) or when the connection breaks.
/// A deletion needs no key: when it is repeated after a try that may have been carried out, 404 means that it was.
/// </summary>
internal sealed class ApiTransport(HttpClient http)
{
    private const int MaxAttempts = 6;
    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(60);

    internal static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    public async Task<T> GetAsync<T>(string path, CancellationToken cancellationToken) =>
        (await ReadAsync<T>(() => new HttpRequestMessage(HttpMethod.Get, path), cancellationToken)).Value;

    public Task<Tagged<T>> GetTaggedAsync<T>(string path, CancellationToken cancellationToken) =>
        ReadAsync<T>(() => new HttpRequestMessage(HttpMethod.Get, path), cancellationToken);

    public async Task<T> SendAsync<T>(HttpMethod method, string path, object? body, CancellationToken cancellationToken, string? ifMatch = null) =>
        (await ReadAsync<T>(Write(method, path, body, ifMatch), cancellationToken)).Value;

    public async Task SendAsync(HttpMethod method, string path, object? body, CancellationToken cancellationToken, string? ifMatch = null)
    {
        using var response = await SendAsync(Write(method, path, body, ifMatch), cancellationToken);
    }

    /// <summary>Every item of a list, page after page.</summary>
    public async IAsyncEnumerable<T> ListAsync<T>(string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string? cursor = null;
        do
        {
            var separator = path.Contains('?') ? '&' : '?';
            var page = await GetAsync<Page<T>>(cursor is null ? path : $"{path}{separator}cursor={Uri.EscapeDataString(cursor)}", cancellationToken);
            foreach (var item in page.Items)
            {
                yield return item;
            }

            cursor = page.Next;
        }
        while (cursor is not null);
    }

    /// <summary>Sends what <paramref name="create"/> makes, anew for each attempt; returns a successful response whose headers have come.</summary>
    public async Task<HttpResponseMessage> SendAsync(Func<HttpRequestMessage> create, CancellationToken cancellationToken, int attempts = MaxAttempts)
    {
        var mayBeDone = false;
        Stopwatch? runningFor = null;
        for (var attempt = 1; ; attempt++)
        {
            HttpResponseMessage? response = null;
            try
            {
                using var request = create();
                response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
                if (response.IsSuccessStatusCode
                    || (mayBeDone && request.Method == HttpMethod.Delete && response.StatusCode == HttpStatusCode.NotFound))
                {
                    return response;
                }

                var wait = RetryAfter(response) ?? Backoff(attempt);
                if (IsStillRunning(request, response) && (runningFor ??= Stopwatch.StartNew()).Elapsed + wait < s_longestWait)
                {
                    attempt--;
                }
                else if (attempt >= attempts || !MayPass(response) || wait > s_longestWait)
                {
                    throw await DeepSeekApiException.FromAsync(response, cancellationToken);
                }

                mayBeDone |= response.StatusCode is HttpStatusCode.BadGateway or HttpStatusCode.GatewayTimeout;
                response.Dispose();
                await Task.Delay(wait, cancellationToken);
            }
            catch (HttpRequestException fault) when (attempt < attempts)
            {
                mayBeDone |= fault.HttpRequestError is not (HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError);
                response?.Dispose();
                await Task.Delay(Backoff(attempt), cancellationToken);
            }
            catch
            {
                response?.Dispose();
                throw;
            }
        }
    }

    /// <summary>The reply's Retry-After as a time to wait.</summary>
    public static TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date > DateTimeOffset.UtcNow ? date - DateTimeOffset.UtcNow : TimeSpan.Zero,
        _ => null,
    };

    private async Task<Tagged<T>> ReadAsync<T>(Func<HttpRequestMessage> create, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(create, cancellationToken);
        var value = await response.Content.ReadFromJsonAsync<T>(Json, cancellationToken);
        return new Tagged<T>(value ?? throw new InvalidDataException("The platform answered with an empty document."), response.Headers.ETag?.ToString());
    }

    private static Func<HttpRequestMessage> Write(HttpMethod method, string path, object? body, string? ifMatch)
    {
        var key = Guid.NewGuid().ToString();
        return () =>
        {
            var request = new HttpRequestMessage(method, path);
            request.Content = body is null ? null : JsonContent.Create(body, body.GetType(), options: Json);
            if (method == HttpMethod.Post || method == HttpMethod.Put)
            {
                request.Headers.Add("Idempotency-Key", key);
            }

            if (ifMatch == "*new*")
            {
                request.Headers.IfNoneMatch.Add(EntityTagHeaderValue.Any);
            }
            else if (ifMatch is not null)
            {
                request.Headers.IfMatch.Add(EntityTagHeaderValue.Parse(ifMatch));
            }

            return request;
        };
    }

    /// <summary>
    /// A repeat under its idempotency key gets 409 with Retry-After while the first try, whose reply was lost, still runs (or while the
    /// platform cannot know that it does not, its gateway having died). Such a wait is no failed attempt.
    /// </summary>
    private static bool IsStillRunning(HttpRequestMessage request, HttpResponseMessage response) =>
        response.StatusCode == HttpStatusCode.Conflict && response.Headers.RetryAfter is not null && request.Headers.Contains("Idempotency-Key");

    private static bool MayPass(HttpResponseMessage response) => response.StatusCode
        is HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout;

    internal static TimeSpan Backoff(int attempt) => TimeSpan.FromMilliseconds(Math.Min(200 << attempt, 5000) * (0.5 + Random.Shared.NextDouble() / 2));
}

/// <summary>A resource with its entity tag.</summary>
public sealed record Tagged<T>(T Value, string? ETag);

/// <summary>One page of a list.</summary>
public sealed record Page<T>(IReadOnlyList<T> Items, string? Next);
