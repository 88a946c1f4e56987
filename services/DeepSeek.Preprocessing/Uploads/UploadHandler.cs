using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace DeepSeek.Preprocessing.Uploads;

/// <summary>POST /api/v1/datasets: the parts are read as they arrive and nothing of them is held in memory.</summary>
internal sealed partial class UploadHandler(PreprocessingDb db, Spool spool, IOptions<PreprocessingOptions> options, TimeProvider clock, ILogger<UploadHandler> logger)
{
    private const string SpecPart = "spec";
    private const string FilePart = "file";
    private const int MaxSpecBytes = 1 << 20;

    /// <summary>Names and boundaries beside the files.</summary>
    private const long Envelope = 2 << 20;

    public async Task<Accepted<DatasetAccepted>> PostAsync(HttpContext http, CancellationToken cancellationToken)
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = options.Value.MaxUploadBytes + Envelope;
        }
        spool.RequireSpace(http.Request.ContentLength ?? 0);
        var id = Guid.CreateVersion7(clock.GetUtcNow());
        var directory = spool.CreateUpload(id);
        DatasetSpec spec;
        Intake intake;
        try
        {
            (spec, intake) = await ReadAsync(http, directory, cancellationToken);
        }
        catch (RepeatedUploadException repeat)
        {
            spool.DeleteUpload(id);
            // A client still sends, and reads the reply only afterwards.
            await http.Request.Body.CopyToAsync(Stream.Null, cancellationToken);
            return Accepted(repeat.Dataset);
        }
        catch (Exception fault)
        {
            spool.DeleteUpload(id);
            throw Problem(fault) ?? fault;
        }

        // From here on the spool stays whatever happens: a commit that fails may have been done, and the sweeper clears folders without a row.
        var dataset = NewDataset(id, spec, intake, http);
        db.Audit(dataset.Owner, "dataset.upload", $"dataset/{id}", new { dataset.Name, Sha256 = dataset.SourceSha256, Bytes = dataset.SourceBytes });
        var stored = await db.SubmitAsync(dataset, JobKinds.Prepare, $"Prepare {dataset.Name}", spec.Priority, CancellationToken.None);
        if (stored.Id != id)
        {
            // A repeat of the same upload was faster.
            spool.DeleteUpload(id);
            return Accepted(stored);
        }
        PreprocessingTelemetry.UploadedBytes.Add(dataset.SourceBytes);
        LogAccepted(id, dataset.SourceBytes, dataset.JobId);
        return Accepted(dataset);
    }

    private static Accepted<DatasetAccepted> Accepted(Dataset dataset) =>
        TypedResults.Accepted($"/api/v1/datasets/{dataset.Id}", new DatasetAccepted(dataset.Id, dataset.JobId, dataset.State.Shown()));

    private static string? RequestKey(HttpContext http, DatasetSpec spec) =>
        http.RequestKey(JobKinds.Prepare, JsonSerializer.Serialize(spec, PlatformJson.Options));

    private async Task<(DatasetSpec Spec, Intake Intake)> ReadAsync(HttpContext http, string directory, CancellationToken cancellationToken)
    {
        var request = http.Request;
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out var type) || !type.MediaType.Equals("multipart/form-data", StringComparison.OrdinalIgnoreCase))
        {
            throw new ApiProblem(StatusCodes.Status415UnsupportedMediaType, "Unsupported media type", "Send multipart/form-data with a part 'spec' (JSON) and then the part 'file'.");
        }
        if (HeaderUtilities.RemoveQuotes(type.Boundary).Value is not { Length: > 0 and <= 200 } boundary)
        {
            throw Problems.Invalid("body", "the content type names no multipart boundary.");
        }
        var reader = new MultipartReader(boundary, request.Body, 1 << 16);
        DatasetSpec? spec = null;
        Upload? upload = null;
        while (await reader.ReadNextSectionAsync(cancellationToken) is { } section)
        {
            if (!ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out var disposition))
            {
                throw Problems.Invalid("body", "a part has no Content-Disposition with a name.");
            }
            var name = HeaderUtilities.RemoveQuotes(disposition.Name).Value;
            if (name == SpecPart && spec is null)
            {
                spec = await ReadSpecAsync(section.Body, cancellationToken);
                DatasetSpecRules.Check(spec);
                if (await db.FindRepeatedAsync<Dataset>(RequestKey(http, spec), cancellationToken) is { } earlier)
                {
                    throw new RepeatedUploadException(earlier);
                }
                upload = new Upload(directory, spec, options.Value);
            }
            else if (name == FilePart && upload is not null)
            {
                var fileName = HeaderUtilities.RemoveQuotes(disposition.FileNameStar.HasValue ? disposition.FileNameStar : disposition.FileName).Value;
                await upload.AddAsync(fileName ?? "", section.Body, cancellationToken);
            }
            else
            {
                throw Problems.Invalid("body", name == FilePart ? "the part 'spec' must come before the file, so that the file can be checked as it arrives." : "parts are 'spec' (once, first) and 'file'.");
            }
        }
        return upload is null ? throw Problems.Invalid(SpecPart, "is missing: send it as the first part.") : (spec!, await Task.Run(upload.Complete, cancellationToken));
    }

    private static async Task<DatasetSpec> ReadSpecAsync(Stream part, CancellationToken cancellationToken)
    {
        var bytes = new byte[MaxSpecBytes + 1];
        var length = await part.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken);
        if (length > MaxSpecBytes)
        {
            throw Problems.Invalid(SpecPart, $"is larger than {MaxSpecBytes:N0} bytes.");
        }
        try
        {
            return JsonSerializer.Deserialize<DatasetSpec>(bytes.AsSpan(0, length), PlatformJson.Strict) ?? throw Problems.Invalid(SpecPart, "must be a JSON object.");
        }
        catch (JsonException fault)
        {
            throw JsonFaults.ToProblem(fault);
        }
    }

    private Dataset NewDataset(Guid id, DatasetSpec spec, Intake intake, HttpContext http)
    {
        var now = clock.GetUtcNow();
        return new Dataset
        {
            Id = id,
            Name = spec.Name,
            Owner = http.User.Actor(),
            Spec = JsonSerializer.Serialize(spec, PlatformJson.Options),
            SourceName = intake.Source.Name,
            SourceSha256 = intake.Source.Sha256,
            SourceBytes = intake.Source.Bytes,
            JobId = Guid.CreateVersion7(now),
            RequestKey = RequestKey(http, spec),
            CreatedAt = now,
            UpdatedAt = now,
        };
    }

    /// <summary>The upload under this key has been stored already.</summary>
    private sealed class RepeatedUploadException(Dataset dataset) : Exception
    {
        public Dataset Dataset => dataset;
    }

    /// <summary>The reply to what was wrong with an upload; null for faults of our own.</summary>
    private static ApiProblem? Problem(Exception fault)
    {
        switch (fault)
        {
            case DataFault data:
                PreprocessingTelemetry.RefusedUploads.Add(1);
                return Problems.Invalid(data.Field, data.Detail);
            case InvalidDataException:
                return Problems.Invalid("body", "is not valid multipart/form-data, or its headers are too long.");
            case IOException { HResult: 28 }:
                return new ApiProblem(StatusCodes.Status507InsufficientStorage, "No room", "The server's disk is full; free some space on it.");
            case IOException and not BadHttpRequestException:
                return Problems.Invalid("body", "ends inside a part; send it again.");
            default:
                return null;
        }
    }

    [LoggerMessage(LogLevel.Information, "Dataset {Id} of {Bytes} bytes accepted for job {JobId}")]
    private partial void LogAccepted(Guid id, long bytes, Guid jobId);
}
