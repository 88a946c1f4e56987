using DeepSeek.Contracts.Compression;
using DeepSeek.Contracts.Training;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Models;

/// <summary>Makes a trained model a version of its author, once per run however often the message comes.</summary>
public sealed class ModelTrainedConsumer(RegistryDb db, VersionRegistrar registrar, AuditLog audit) : InboxConsumer<RegistryDb, ModelTrained>(db)
{
    protected override async Task HandleAsync(RegistryDb db, ModelTrained message, CancellationToken cancellationToken)
    {
        var (version, isNew) = await registrar.AddAsync(new NewVersion
        {
            ModelName = message.ModelName,
            Author = message.Owner,
            SourceKind = SourceKind.Run,
            SourceId = message.RunId,
            DatasetId = message.DatasetId,
            DatasetManifestSha256 = message.DatasetManifestSha256,
            Artifacts = message.Artifacts,
            Metrics = message.Metrics,
            Note = message.Framework,
        }, cancellationToken);
        if (isNew)
            await audit.AppendAsync(db, [VersionAudit.Draft(audit, version)], cancellationToken);
    }
}

/// <summary>Makes a compressed model a version beside the one it was made from, once per compression.</summary>
public sealed class ModelCompressedConsumer(RegistryDb db, VersionRegistrar registrar, AuditLog audit) : InboxConsumer<RegistryDb, ModelCompressed>(db)
{
    protected override async Task HandleAsync(RegistryDb db, ModelCompressed message, CancellationToken cancellationToken)
    {
        var (version, isNew) = await registrar.AddAsync(new NewVersion
        {
            ModelName = message.ModelName,
            Author = message.Owner,
            SourceKind = SourceKind.Compression,
            SourceId = message.CompressionId,
            ParentVersion = message.ParentVersion,
            Artifacts = message.Artifacts,
            AlsoKeep = message.ReportSha256 is { } report ? [report] : [],
            Metrics = message.Metrics,
            Note = message.Method,
        }, cancellationToken);
        if (isNew)
            await audit.AppendAsync(db, [VersionAudit.Draft(audit, version)], cancellationToken);
    }
}

internal static class VersionAudit
{
    public static AuditDraft Draft(AuditLog audit, ModelVersion version) =>
        audit.Draft(version.Author, "version.registered", $"model/{version.Model!.Name}/{version.Version}", new
        {
            versionId = version.Id,
            version.SourceKind,
            version.SourceId,
            version.ParentVersion,
            version.DatasetManifestSha256,
            artifacts = version.Artifacts.Select(a => new { a.Name, a.Sha256, a.Bytes }),
        });
}
