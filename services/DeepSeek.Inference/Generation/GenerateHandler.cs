using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Predictions;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;

namespace DeepSeek.Inference.Generation;

/// <summary>
/// POST /api/v1/deployments/{name}/generate: the model is asked for one token after the other, each by a whole pass over what it sees of
/// the text so far. ONNX models keep no cache, so a token costs as much as a prediction; requests of others pass in between.
/// </summary>
internal static class GenerateHandler
{
    public static async Task<Ok<GenerateReply>> GenerateAsync(
        string name, GenerateRequest request, HttpContext http, DeploymentTable table, PredictionLog log, TimeProvider time, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        if (request.Faults() is { Count: > 0 } faults)
        {
            throw Problems.Invalid(faults);
        }

        var seed = request.Seed ?? BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long)));
        try
        {
            var version = await table.AcquireAsync(name, null, cancellationToken);
            try
            {
                var (written, ended) = await WriteAsync(version, request, seed, cancellationToken);
                var id = PredictionId.New(version.Model.VersionId);
                http.Response.Headers[PredictHandler.PredictionIdHeader] = id.ToString();
                var text = Encoding.UTF8.GetString(written.WrittenSpan);
                var results = JsonSerializer.Serialize(new[] { new { Tokens = written.WrittenCount, Seed = seed } }, PlatformJson.Options);
                log.Add(PredictionEntries.Of(id, version, http, "generation", 1, started, time, results));
                return TypedResults.Ok(new GenerateReply(
                    id.ToString(), version.Deployment, version.Model.Name, version.Model.Version, text, written.WrittenCount, ended ? "document" : "length", seed));
            }
            finally
            {
                version.Release();
            }
        }
        catch (InferenceException fault)
        {
            throw PredictHandler.ToProblem(fault);
        }
    }

    private static async Task<(ArrayBufferWriter<byte> Written, bool Ended)> WriteAsync(LoadedVersion version, GenerateRequest request, long seed, CancellationToken cancellationToken)
    {
        var names = version.Signature.Outputs.Select(o => o.Name).ToList();
        int[] wanted = [names.IndexOf(RowModel.ProbabilitiesOutput)];
        if (version.Rows.Columns is not [{ Type: ColumnType.Text } column] || wanted[0] < 0 || version.Rows.Classes.Count != ByteTokens.Vocabulary)
        {
            throw InferenceException.BadRequest($"Model '{version.Model.Name}' is no language model, so it writes no text; ask it for predictions at /predict.");
        }

        var prompt = Encoding.UTF8.GetBytes(request.Prompt);
        var tokens = new List<long>(TextData.Tokens(prompt, column.Context));
        var sampler = new TokenSampler(request.Temperature, request.TopK, seed);
        var written = new ArrayBufferWriter<byte>(request.MaxTokens);
        while (written.WrittenCount < request.MaxTokens)
        {
            var outputs = await version.InferAsync(new InferenceWork([TextData.ToTensor(column.Input.Name, [[.. tokens]])], 1, wanted), cancellationToken);
            var probabilities = MemoryMarshal.Cast<byte, float>(outputs[0].Data.Span);
            if (probabilities.ContainsAnyExceptInRange(0f, 1f))
            {
                throw new InferenceException(StatusCodes.Status500InternalServerError, "The model gives no finite probabilities.");
            }

            var token = sampler.Next(probabilities);
            if (token == ByteTokens.Separator)
            {
                return (written, true);
            }

            written.Write([(byte)token]);
            tokens.Add(token);
            if (tokens.Count > column.Context)
            {
                tokens.RemoveAt(0);
            }
        }

        return (written, false);
    }
}
