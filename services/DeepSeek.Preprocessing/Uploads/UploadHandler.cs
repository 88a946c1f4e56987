using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;
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
    private const int MaxAttempts = 3;

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
        try
        {
            var (spec, intake) = await ReadAsync(http.Request, directory, cancellationToken);
            var dataset = await StoreAsync(id, spec, intake, http.User.Actor(), cancellationToken);
            PreprocessingTelemetry.UploadedBytes.Add(dataset.SourceBytes);
            LogAccepted(id, dataset.SourceBytes, dataset.JobId);
            return TypedResults.Accepted($"/api/v1/datasets/{id}", new DatasetAccepted(id, dataset.JobId, dataset.State));
        }
        catch (Exception fault)
        {
            spool.DeleteUpload(id);
            throw Problem(fault) ?? fault;
        }
    }

    private async Task<(DatasetSpec Spec, Intake Intake)> ReadAsync(HttpRequest request, string directory, CancellationToken cancellationToken)
    {
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

    private async Task<Dataset> StoreAsync(Guid id, DatasetSpec spec, Intake intake, string owner, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var dataset = new Dataset
        {
            Id = id,
            Name = spec.Name,
            Owner = owner,
            State = DatasetState.Queued,
            Spec = JsonSerializer.Serialize(spec, PlatformJson.Options),
            SourceName = intake.Source.Name,
            SourceSha256 = intake.Source.Sha256,
            SourceBytes = intake.Source.Bytes,
            JobId = Guid.CreateVersion7(now),
            CreatedAt = now,
            UpdatedAt = now,
        };
        db.Datasets.Add(dataset);
        db.Publish(new SubmitJob
        {
            JobId = dataset.JobId,
            Kind = JobKinds.Prepare,
            SubjectId = id,
            Name = $"Prepare {spec.Name}",
            Owner = owner,
            Priority = spec.Priority,
            MaxAttempts = MaxAttempts,
            SubmittedAt = now,
        });
        db.Audit(owner, "dataset.upload", $"dataset/{id}", new { spec.Name, intake.Source.Sha256, intake.Source.Bytes });
        await db.SaveChangesAsync(cancellationToken);
        return dataset;
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
