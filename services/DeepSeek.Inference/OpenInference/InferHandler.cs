using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Predictions;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.OpenInference;

internal static class InferHandler
{
    public static async Task<IResult> InferAsync(
        string model, string? version, HttpContext http, DeploymentTable table, PredictionLog log, IOptions<InferenceOptions> options,
        TimeProvider time, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        // The body comes first: a slow sender must not hold a version that is to be swapped out.
        using var body = await RequestBody.ReadAsync(http, options.Value.MaxRequestBytes, cancellationToken);
        var loaded = await table.AcquireAsync(model, version, cancellationToken);
        InferRequest request;
        InferenceWork work;
        Tensor[] outputs;
        try
        {
            request = InferRequestReader.Read(http.Request.Headers, body.Memory, loaded.Signature);
            work = loaded.Signature.Bind(request);
            outputs = await loaded.InferAsync(work, cancellationToken);
        }
        finally
        {
            loaded.Release();
        }

        var id = PredictionId.New(loaded.Model.VersionId);
        var response = new InferResponse
        {
            ModelName = model,
            ModelVersion = loaded.Model.Version.ToString(CultureInfo.InvariantCulture),
            Id = request.Id,
            PredictionId = id.ToString(),
            Outputs = [.. outputs.Select((tensor, i) => new OutputTensor(tensor, IsBinary(request, i)))],
        };
        var json = new ArrayBufferWriter<byte>(1024);
        response.WriteJson(json);
        log.Add(PredictionEntries.Of(id, loaded, http, "tensors", work.Rows, started, time, null));
        http.Response.Headers[PredictHandler.PredictionIdHeader] = response.PredictionId;
        await WriteAsync(http, response, json, cancellationToken);
        return TypedResults.Empty;
    }

    private static bool IsBinary(InferRequest request, int output) =>
        (request.Outputs is { Count: > 0 } asked ? asked[output].Binary : null) ?? request.BinaryByDefault;

    private static async Task WriteAsync(HttpContext http, InferResponse response, ArrayBufferWriter<byte> json, CancellationToken cancellationToken)
    {
        var binary = response.Outputs.Where(o => o.Binary).Select(o => o.Tensor.Data).ToList();
        http.Response.ContentLength = json.WrittenCount + binary.Sum(b => (long)b.Length);
        http.Response.ContentType = "application/json";
        if (response.HasBinary)
        {
            http.Response.ContentType = "application/octet-stream";
            http.Response.Headers[InferRequestReader.HeaderLength] = json.WrittenCount.ToString(CultureInfo.InvariantCulture);
        }

        await http.Response.Body.WriteAsync(json.WrittenMemory, cancellationToken);
        foreach (var data in binary)
        {
            await http.Response.Body.WriteAsync(data, cancellationToken);
        }
    }
}
