using System.Buffers;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Predictions;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.Generation;

/// <summary>
/// POST /api/v1/deployments/{name}/generate: the model is asked for one token after the other; requests of others pass in between. The
/// reply comes at the end, or, where the request asks for a stream, each token as soon as it is drawn.
/// </summary>
internal static class GenerateHandler
{
    private const string Document = "document";
    private const string Length = "length";
    private const string Cancelled = "cancelled";

    public static async Task<IResult> GenerateAsync(
        string name, GenerateRequest request, HttpContext http, DeploymentTable table, CacheBudget budget, PredictionLog log, TimeProvider time, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        if (request.Faults() is { Count: > 0 } faults)
        {
            throw Problems.Invalid(faults);
        }

        var seed = request.Seed ?? BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long)));
        LoadedVersion? version = null;
        try
        {
            version = await table.AcquireAsync(name, null, cancellationToken);
            var id = PredictionId.New(version.Model.VersionId);
            http.Response.Headers[PredictHandler.PredictionIdHeader] = id.ToString();
            var reply = new GenerateReply(id.ToString(), version.Deployment, version.Model.Name, version.Model.Version, "", 0, Cancelled, seed);
            void Log(GenerateReply end) => log.Add(PredictionEntries.Of(
                id, version, http, "generation", 1, started, time, JsonSerializer.Serialize(new[] { new { end.Tokens, end.FinishReason, Seed = seed } }, PlatformJson.Options)));
            await using var bytes = TextGenerator.WriteAsync(version, request, seed, budget, cancellationToken).GetAsyncEnumerator(cancellationToken);
            if (request.Stream)
            {
                await new EventWriter(http.Response).WriteAsync(bytes, reply, request.MaxTokens, Log, cancellationToken);
                return TypedResults.Empty;
            }

            var written = new ArrayBufferWriter<byte>(request.MaxTokens);
            while (await bytes.MoveNextAsync())
            {
                written.Write([bytes.Current]);
            }

            reply = reply with { Text = Encoding.UTF8.GetString(written.WrittenSpan), Tokens = written.WrittenCount, FinishReason = FinishReason(written.WrittenCount, request.MaxTokens) };
            Log(reply);
            return TypedResults.Ok(reply);
        }
        catch (InferenceException fault)
        {
            throw PredictHandler.ToProblem(fault);
        }
        finally
        {
            version?.Release();
        }
    }

    internal static string FinishReason(int written, int most) => written < most ? Document : Length;
}
