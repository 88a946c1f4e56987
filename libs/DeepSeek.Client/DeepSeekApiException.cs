using System.Net;
using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>The platform refused a call; carries its problem details (RFC 9457).</summary>
public sealed class DeepSeekApiException : Exception
{
    private DeepSeekApiException(HttpStatusCode status, string title, string detail, IReadOnlyDictionary<string, string[]> errors)
        : base(detail.Length > 0 ? detail : $"{title} ({(int)status})")
    {
        (Status, Title, Errors) = (status, title, errors);
    }

    internal DeepSeekApiException(HttpStatusCode status, string detail)
        : this(status, "The call failed", detail, new Dictionary<string, string[]>())
    {
    }

    /// <summary>HTTP status of the reply.</summary>
    public HttpStatusCode Status { get; }

    /// <summary>What kind of problem it is.</summary>
    public string Title { get; }

    /// <summary>By field (JSON path): what is wrong with it and the remedy.</summary>
    public IReadOnlyDictionary<string, string[]> Errors { get; }

    /// <summary>How long the platform asks to wait before the next try.</summary>
    public TimeSpan? RetryAfter { get; private init; }

    internal static async Task<DeepSeekApiException> FromAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        var (title, detail) = (response.ReasonPhrase ?? "The call failed", "");
        var errors = new Dictionary<string, string[]>();
        var body = await response.Content.ReadAsStringAsync(cancellationToken);
        try
        {
            using var problem = JsonDocument.Parse(body);
            title = Text(problem.RootElement, "title") ?? title;
            detail = Text(problem.RootElement, "detail") ?? Text(problem.RootElement, "error") ?? ""; // the inference protocol says "error"
            if (problem.RootElement.ValueKind == JsonValueKind.Object && problem.RootElement.TryGetProperty("errors", out var fields))
            {
                errors = fields.Deserialize<Dictionary<string, string[]>>(JsonSerializerOptions.Web) ?? errors;
            }
        }
        catch (JsonException)
        {
            detail = $"{(int)response.StatusCode} {title}: {body[..Math.Min(body.Length, 200)]}";
        }

        return new DeepSeekApiException(response.StatusCode, title, detail, errors) { RetryAfter = ApiTransport.RetryAfter(response) };
    }

    private static string? Text(JsonElement problem, string member) =>
        problem.ValueKind == JsonValueKind.Object && problem.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
