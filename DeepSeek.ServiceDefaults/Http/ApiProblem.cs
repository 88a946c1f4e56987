namespace DeepSeek.ServiceDefaults;

/// <summary>An answer that is a problem (RFC 9457): thrown anywhere below an endpoint, it becomes the response.</summary>
public sealed class ApiProblem(int status, string title, string detail) : Exception(detail)
{
    public int Status { get; } = status;
    public string Title { get; } = title;
    public string Detail { get; } = detail;
    /// <summary>Per field (JSON path without <c>$.</c>): what is wrong and the remedy.</summary>
    public IReadOnlyDictionary<string, string[]> Errors { get; init; } = new Dictionary<string, string[]>();
    /// <summary>Further members of the problem document.</summary>
    public IReadOnlyDictionary<string, object?> Extensions { get; init; } = new Dictionary<string, object?>();
    /// <summary>Sent as <c>Retry-After</c>, rounded up to whole seconds.</summary>
    public TimeSpan? RetryAfter { get; init; }
}

/// <summary>The usual problems, by name.</summary>
public static class Problems
{
    /// <summary>400: one field is wrong.</summary>
    public static ApiProblem Invalid(string field, string remedy) =>
        Invalid(new Dictionary<string, string[]> { [field] = [remedy] });

    /// <summary>400: several fields are wrong.</summary>
    public static ApiProblem Invalid(IReadOnlyDictionary<string, string[]> errors) =>
        new(StatusCodes.Status400BadRequest, "The request is not valid",
            string.Join(" ", errors.SelectMany(field => field.Value.Select(text => $"{field.Key}: {text}"))))
        { Errors = errors };

    /// <summary>404: <paramref name="what"/> (for example <c>dataset</c>) with this id does not exist.</summary>
    public static ApiProblem NotFound(string what, object id) =>
        new(StatusCodes.Status404NotFound, "Not found", $"There is no {what} '{id}'.");

    /// <summary>409: the state of the thing forbids it.</summary>
    /// <param name="detail">What stands in the way, and the remedy.</param>
    /// <param name="retryAfter">Given when the conflict passes by itself.</param>
    public static ApiProblem Conflict(string detail, TimeSpan? retryAfter = null) => new(StatusCodes.Status409Conflict, "Conflict", detail) { RetryAfter = retryAfter };

    /// <summary>403: the principal may not.</summary>
    public static ApiProblem Forbidden(string detail) => new(StatusCodes.Status403Forbidden, "Forbidden", detail);

    /// <summary>413: more bytes than allowed.</summary>
    public static ApiProblem TooLarge(string detail) => new(StatusCodes.Status413PayloadTooLarge, "Too large", detail);

    /// <summary>422: well-formed, but it cannot be done.</summary>
    public static ApiProblem Unprocessable(string detail) => new(StatusCodes.Status422UnprocessableEntity, "Cannot be processed", detail);

    /// <summary>429: come back later.</summary>
    public static ApiProblem TooMany(string detail, TimeSpan retryAfter) =>
        new(StatusCodes.Status429TooManyRequests, "Too many requests", detail) { RetryAfter = retryAfter };

    /// <summary>503: a part this needs is not there now.</summary>
    public static ApiProblem Unavailable(string detail, TimeSpan? retryAfter = null) =>
        new(StatusCodes.Status503ServiceUnavailable, "Unavailable", detail) { RetryAfter = retryAfter };
}
