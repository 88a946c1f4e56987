using System.Diagnostics;
using System.IO.Compression;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Quickstart;

/// <summary>The main job from raw data to explanation through the gateway; every step checks what it promises.</summary>
internal sealed class QuickstartRun(CommandContext context, Uri gateway, QuickstartPlan plan)
{
    /// <summary>A replica that died counts as living for 15 s; loading takes its time on a busy machine.</summary>
    private static readonly TimeSpan s_rollOut = TimeSpan.FromSeconds(60);
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public async Task<QuickstartReport> RunAsync()
    {
        await using var keys = await QuickstartKeys.MakeAsync(context.Client, gateway, context.Cancelled);
        var author = keys.Author;

        Step($"uploading {string.Join(", ", plan.Files.Select(Path.GetFileName))}");
        var dataset = await author.Datasets.CreateAsync(plan.Dataset, [.. plan.Files.Select(UploadFile.Of)], null, context.Cancelled);
        await FollowAsync(author, dataset.JobId);
        dataset = await author.Datasets.GetAsync(dataset.Id, context.Cancelled);
        Step($"prepared {dataset.Rows} rows");

        var run = await author.Runs.CreateAsync(plan.Run(dataset.Id), context.Cancelled);
        await FollowAsync(author, run.JobId);
        var trained = await author.Models.WaitForSourceAsync(plan.Name, run.Id, cancellationToken: context.Cancelled);
        var accuracy = trained.Metrics["accuracy"];
        Step($"trained version {trained.Version}: test accuracy {accuracy:P2}, AUC {trained.Metrics["auc"]:F4}");
        Require(accuracy >= plan.LeastAccuracy, $"The test accuracy {accuracy:P2} is below {plan.LeastAccuracy:P1}.");

        var compression = await author.Compressions.CreateAsync(plan.Compression with { Version = $"{trained.Version}" }, context.Cancelled);
        await FollowAsync(author, compression.JobId);
        var compressed = await author.Models.WaitForSourceAsync(plan.Name, compression.Id, cancellationToken: context.Cancelled);
        var report = (await author.Compressions.GetAsync(compression.Id, context.Cancelled)).Report
            ?? throw new CommandFailedException("The compression has no report.");
        var (bytesFp32, bytesInt8) = (trained.Artifact("model.onnx").Bytes, compressed.Artifact("model.onnx").Bytes);
        Step($"compressed to version {compressed.Version}: {bytesFp32} → {bytesInt8} bytes");
        Require((double)bytesFp32 / bytesInt8 >= plan.LeastCompression, $"The INT8 file is only {(double)bytesFp32 / bytesInt8:F2} times smaller, {plan.LeastCompression} is promised.");

        await keys.Approver.Models.ApproveAsync(plan.Name, compressed.Version, "Within its accuracy budget.", cancellationToken: context.Cancelled);
        await author.Models.SetAliasAsync(plan.Name, "production", compressed.Version, cancellationToken: context.Cancelled);
        await DeployAsync(author, compressed.Version);
        Step($"deployed {plan.Name}@production");

        var manifest = await author.Datasets.GetManifestAsync(dataset.Id, context.Cancelled);
        var predictionId = manifest.GetProperty("kind").GetString() == "image"
            ? await InferImageAsync(author)
            : await PredictTestRowsAsync(author, manifest, report);
        var lineage = await author.Predictions.GetLineageAsync(predictionId, context.Cancelled);
        Require(lineage.GetRawText().Contains(dataset.ManifestSha256!, StringComparison.Ordinal), "The prediction's lineage does not reach the dataset's hash.");
        Step($"traced prediction {predictionId} to dataset {dataset.ManifestSha256}");

        var explanation = await author.Explanations.CreateAsync(plan.Explanation, context.Cancelled);
        await FollowAsync(author, explanation.JobId);
        var explained = (await author.Explanations.GetAsync(explanation.Id, context.Cancelled)).Report!.Value;
        var additivity = explained.TryGetProperty("maxAdditivityError", out var error) && error.ValueKind == JsonValueKind.Number ? error.GetDouble() : (double?)null;
        Require(additivity is null or <= 1e-6, $"The explanation's values miss the output by {additivity:E1}.");
        Step("explained");

        var audit = await author.Audit.VerifyAsync(context.Cancelled);
        Require(audit.Valid, $"The audit log is broken at entry {audit.FirstBroken?.Sequence}.");
        return new QuickstartReport
        {
            Name = plan.Name,
            At = DateTimeOffset.UtcNow,
            Seconds = _clock.Elapsed.TotalSeconds,
            DatasetHash = dataset.ManifestSha256!,
            Rows = dataset.Rows!.Value,
            Accuracy = accuracy,
            Auc = trained.Metrics["auc"],
            AccuracyInt8 = Number(report, "accuracy", "int8"),
            ModelBytesFp32 = bytesFp32,
            ModelBytesInt8 = bytesInt8,
            P50MsFp32 = Number(report, "latencyMs", "fp32", "p50"),
            P50MsInt8 = Number(report, "latencyMs", "int8", "p50"),
            AdditivityError = additivity,
            PredictionId = predictionId,
            Lineage = lineage,
            AuditEntries = audit.Entries,
        };
    }

    private async Task DeployAsync(DeepSeekClient client, int version)
    {
        await client.Deployments.PutAsync(plan.Name, new DeploymentSpec { Model = plan.Name, Ref = "production" }, context.Cancelled);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(context.Cancelled);
        patience.CancelAfter(s_rollOut);
        try
        {
            var deployment = await client.Deployments.WaitAsync(plan.Name, patience.Token);
            Require(deployment is { State: "ready" } && deployment.TargetVersion == version, $"Version {version} is not served: the deployment is {deployment.State} at version {deployment.TargetVersion}. {deployment.Error}");
        }
        catch (OperationCanceledException) when (!context.Cancelled.IsCancellationRequested)
        {
            throw new CommandFailedException($"Version {version} was not served by every replica within {s_rollOut.TotalSeconds} s.");
        }
    }

    // The held-out rows, served one batch at a time, must score what the compression's report says.
    private async Task<string> PredictTestRowsAsync(DeepSeekClient client, JsonElement manifest, JsonElement report)
    {
        var rows = await ReadSampleAsync(client, manifest.GetProperty("splits").GetProperty("test").GetProperty("sample").GetProperty("sha256").GetString()!);
        var right = 0;
        string? first = null;
        foreach (var batch in rows.Chunk(16))
        {
            var reply = await client.Deployments.PredictAsync(plan.Name, [.. batch.Select(row => row.GetProperty("inputs"))], context.Cancelled);
            right += reply.Predictions.Zip(batch).Count(pair => pair.First.Label == pair.Second.GetProperty("target").ToString());
            first ??= reply.PredictionIds[0];
        }

        var served = (double)right / rows.Count;
        Step($"served the {rows.Count} test rows: accuracy {served:P2}");
        Require(Math.Abs(served - Number(report, "accuracy", "int8")) < 1e-9, $"The served accuracy {served:P2} is not the reported {Number(report, "accuracy", "int8"):P2}.");
        return first!;
    }

    private async Task<List<JsonElement>> ReadSampleAsync(DeepSeekClient client, string sha256)
    {
        var path = Path.GetTempFileName();
        try
        {
            await client.Blobs.DownloadAsync(sha256, path, context.Cancelled);
            using var lines = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
            var rows = new List<JsonElement>();
            while (await lines.ReadLineAsync(context.Cancelled) is { } line)
            {
                rows.Add(JsonElement.Parse(line));
            }

            return rows;
        }
        finally
        {
            File.Delete(path);
        }
    }

    // The first test image, in the inference protocol's own form.
    private async Task<string> InferImageAsync(DeepSeekClient client)
    {
        const int header = 16;
        var image = new byte[28 * 28];
        await using (var file = new GZipStream(File.OpenRead(plan.Files[2]), CompressionMode.Decompress))
        {
            await file.ReadExactlyAsync(new byte[header], context.Cancelled);
            await file.ReadExactlyAsync(image, context.Cancelled);
        }

        var reply = await client.Inference.InferAsync(
            plan.Name, [new InferenceTensor("image", [1, 1, 28, 28], "UINT8", JsonSerializer.SerializeToElement(image.Select(pixel => (int)pixel)))], cancellationToken: context.Cancelled);
        Step($"the first test image is {reply.Outputs.Single(output => output.Name == "label").Data}");
        return reply.Parameters!.Value.GetProperty("prediction_id").GetString()!;
    }

    private async Task FollowAsync(DeepSeekClient client, Guid jobId) => await (context with { Client = client }).SucceedAsync(jobId);

    private void Step(string text) => context.Print.Say($"[{_clock.Elapsed.TotalSeconds,6:F1} s] {text}");

    private static void Require(bool holds, string fault)
    {
        if (!holds)
        {
            throw new CommandFailedException(fault);
        }
    }

    private static double Number(JsonElement report, params string[] path) => path.Aggregate(report, (element, member) => element.GetProperty(member)).GetDouble();
}
