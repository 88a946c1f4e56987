using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Predictions;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Rows;

/// <summary>Schema of the request for the OpenAPI document; the body itself is read as a stream of tokens.</summary>
internal sealed record PredictRequest(IReadOnlyList<Dictionary<string, JsonElement>> Rows);

/// <summary>Schema of the reply for the OpenAPI document.</summary>
internal sealed record PredictReply(
    IReadOnlyList<string> PredictionIds, string Deployment, string Model, int Version, IReadOnlyList<RowPrediction> Predictions);

internal sealed record RowPrediction(string? Label, Dictionary<string, double?>? Probabilities, double? Prediction);

internal static class PredictHandler
{
    public const string PredictionIdHeader = "X-Prediction-Id";

    /// <summary>The log keeps the results of at most so many rows of a request, fewer where a row has many classes.</summary>
    private const int LoggedRows = 100;

    private const int LoggedProbabilities = 10_000;

    public static async Task PredictAsync(
        string name, HttpContext http, DeploymentTable table, PredictionLog log, IOptions<InferenceOptions> options, TimeProvider time,
        CancellationToken cancellationToken)
    {
        try
        {
            await AnswerAsync(name, http, table, log, options.Value, time, cancellationToken);
        }
        catch (RowException fault)
        {
            throw Problems.Invalid(fault.Field, fault.Message);
        }
        catch (InferenceException fault)
        {
            throw ToProblem(fault);
        }
    }

    private static async Task AnswerAsync(
        string name, HttpContext http, DeploymentTable table, PredictionLog log, InferenceOptions options, TimeProvider time,
        CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        using var body = await RequestBody.ReadAsync(http, options.MaxRequestBytes, cancellationToken);
        var version = await table.AcquireAsync(name, null, cancellationToken);
        InferenceWork work;
        Tensor[] outputs;
        try
        {
            if (version.Rows.Obstacle is { } obstacle)
            {
                throw InferenceException.BadRequest(obstacle);
            }

            work = RowReader.Read(body.Memory, version.Rows).Wanting(RowReply.Outputs(version.Signature));
            outputs = await version.InferAsync(work, cancellationToken);
        }
        finally
        {
            version.Release();
        }

        var id = PredictionId.New(version.Model.VersionId);
        var reply = new ArrayBufferWriter<byte>(512);
        Write(reply, id, version, outputs, work.Rows);
        log.Add(Entry(id, version, http, outputs, work.Rows, started, time));
        http.Response.Headers[PredictionIdHeader] = id.ToString();
        http.Response.ContentType = "application/json; charset=utf-8";
        http.Response.ContentLength = reply.WrittenCount;
        await http.Response.Body.WriteAsync(reply.WrittenMemory, cancellationToken);
    }

    private static void Write(ArrayBufferWriter<byte> target, PredictionId id, LoadedVersion version, Tensor[] outputs, long rows)
    {
        using var json = new Utf8JsonWriter(target);
        json.WriteStartObject();
        json.WriteStartArray("predictionIds");
        for (var row = 0; row < rows; row++)
        {
            json.WriteStringValue(id.OfRow(row).ToString());
        }

        json.WriteEndArray();
        json.WriteString("deployment", version.Deployment);
        json.WriteString("model", version.Model.Name);
        json.WriteNumber("version", version.Model.Version);
        json.WriteStartArray("predictions");
        RowReply.WritePredictions(json, outputs, version.Rows.Classes, rows);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static Prediction Entry(
        PredictionId id, LoadedVersion version, HttpContext http, Tensor[] outputs, long rows, long started, TimeProvider time)
    {
        var logged = Math.Min(rows, Math.Clamp(LoggedProbabilities / Math.Max(1, version.Rows.Classes.Count), 1, LoggedRows));
        var results = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(results))
        {
            json.WriteStartArray();
            RowReply.WritePredictions(json, [.. outputs.Select(o => o.Slice(0, logged))], version.Rows.Classes, logged);
            json.WriteEndArray();
        }

        return PredictionEntries.Of(id, version, http, "rows", rows, started, time, Encoding.UTF8.GetString(results.WrittenSpan));
    }

    internal static ApiProblem ToProblem(InferenceException fault) => new(
        fault.Status,
        fault.Status switch
        {
            StatusCodes.Status400BadRequest => "The request is not valid",
            StatusCodes.Status404NotFound => "Not found",
            StatusCodes.Status413PayloadTooLarge => "Too large",
            StatusCodes.Status429TooManyRequests => "Too many requests",
            StatusCodes.Status503ServiceUnavailable => "Unavailable",
            _ => "The prediction failed",
        },
        fault.Message)
    {
        RetryAfter = fault.RetryAfterSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
    };
}
