using System.Reflection;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.OpenInference;

internal static class ServerHandlers
{
    private const string ServerName = "deepseek-inference";

    /// <summary>Triton's names of what we have of its extensions.</summary>
    private static readonly string[] Extensions =
        ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"];

    private static readonly string Version =
        typeof(ServerHandlers).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0";

    public static IResult Metadata() => TypedResults.Json(new { name = ServerName, version = Version, extensions = Extensions });

    public static IResult Live() => TypedResults.Json(new { live = true });

    public static IResult Ready(DeploymentTable table) => TypedResults.Json(
        new { ready = table.Settled },
        statusCode: table.Settled ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);

    public static IResult Unknown(HttpContext http) =>
        throw InferenceException.NotFound($"There is nothing at {JsonText.Shorten(http.Request.Path.ToString())} for {http.Request.Method}.");
}
