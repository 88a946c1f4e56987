using System.Net;
using Polly.CircuitBreaker;
using Polly.Timeout;

namespace DeepSeek.ServiceDefaults;

/// <summary>What a reply of the blob store means: there, not there, or a fault that may pass.</summary>
internal static class BlobReply
{
    public static async Task<bool> FoundAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        if (response.IsSuccessStatusCode)
            return true;
        if (response.StatusCode == HttpStatusCode.NotFound)
            return false;
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        throw new HttpRequestException($"The blob store answered {(int)response.StatusCode} to {response.RequestMessage?.Method} {response.RequestMessage?.RequestUri}. {text}", null, response.StatusCode);
    }

    /// <summary>True for lost connections, time-outs, and answers that say "later" (a full disk, 507, is not one of them).</summary>
    public static bool IsTransient(Exception fault) => fault switch
    {
        HttpRequestException { StatusCode: null } => true,
        HttpRequestException
        {
            StatusCode: HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or HttpStatusCode.InternalServerError
            or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout
        } => true,
        HttpRequestException or BlobNotFoundException or BlobCorruptException => false,
        IOException or TimeoutException or TaskCanceledException or BrokenCircuitException or TimeoutRejectedException => true,
        _ => false,
    };
}
