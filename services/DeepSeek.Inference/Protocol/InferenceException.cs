namespace DeepSeek.Inference.Protocol;

/// <summary>A request that cannot be answered, with the status and the words its sender gets.</summary>
internal sealed class InferenceException(int status, string message, int? retryAfterSeconds = null) : Exception(message)
{
    public int Status { get; } = status;

    /// <summary>Seconds after which the same request is expected to be accepted.</summary>
    public int? RetryAfterSeconds { get; } = retryAfterSeconds;

    public static InferenceException BadRequest(string message) => new(StatusCodes.Status400BadRequest, message);

    public static InferenceException NotFound(string message) => new(StatusCodes.Status404NotFound, message);

    public static InferenceException NotReady(string message) => new(StatusCodes.Status503ServiceUnavailable, message, 1);
}
