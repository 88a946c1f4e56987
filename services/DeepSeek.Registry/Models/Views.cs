using DeepSeek.Contracts.Registry;

namespace DeepSeek.Registry.Models;

/// <summary>A model as the API shows it: its newest version (0 when all are deleted), how many there are, and what its aliases point to.</summary>
public sealed record ModelView(
    Guid Id, string Name, string CreatedBy, DateTimeOffset CreatedAt, int LatestVersion, int Versions, IReadOnlyDictionary<string, int> Aliases);

/// <summary>An alias and the version it points to.</summary>
public sealed record AliasView(string Alias, int Version, Guid VersionId, string MovedBy, DateTimeOffset MovedAt);

public sealed record ApprovalView(Guid Id, Decision Decision, string Actor, string Comment, DateTimeOffset At)
{
    internal static ApprovalView Of(VersionApproval approval) =>
        new(approval.Id, approval.Decision, approval.Actor, approval.Comment, approval.At);
}

/// <summary>A model version as the API shows it.</summary>
public sealed record VersionView
{
    public required Guid Id { get; init; }

    public required string ModelName { get; init; }

    public required int Version { get; init; }

    public required int? ParentVersion { get; init; }

    public required string Author { get; init; }

    public required SourceKind SourceKind { get; init; }

    public required Guid SourceId { get; init; }

    public required Guid? DatasetId { get; init; }

    public required string? DatasetManifestSha256 { get; init; }

    public required IReadOnlyList<Artifact> Artifacts { get; init; }

    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    public required ApprovalState ApprovalState { get; init; }

    public required IReadOnlyList<ApprovalView> Approvals { get; init; }

    public required IReadOnlyList<string> Aliases { get; init; }

    public required string Note { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>Null while the version exists; afterwards its bytes may be gone.</summary>
    public required DateTimeOffset? DeletedAt { get; init; }

    internal static VersionView Of(ModelVersion version, int requiredApprovals) => new()
    {
        Id = version.Id,
        ModelName = version.Model!.Name,
        Version = version.Version,
        ParentVersion = version.ParentVersion,
        Author = version.Author,
        SourceKind = version.SourceKind,
        SourceId = version.SourceId,
        DatasetId = version.DatasetId,
        DatasetManifestSha256 = version.DatasetManifestSha256,
        Artifacts = [.. version.Artifacts.OrderBy(a => a.Name, StringComparer.Ordinal)
            .Select(a => new Artifact { Name = a.Name, Sha256 = a.Sha256, Bytes = a.Bytes, MediaType = a.MediaType })],
        Metrics = version.Metrics.OrderBy(m => m.Name, StringComparer.Ordinal).ToDictionary(m => m.Name, m => m.Value),
        ApprovalState = Models.Approvals.StateOf(version, requiredApprovals),
        Approvals = [.. version.Approvals.OrderBy(a => (a.At, a.Id)).Select(ApprovalView.Of)],
        Aliases = [.. version.Aliases.Select(a => a.Alias).Order(StringComparer.Ordinal)],
        Note = version.Note,
        CreatedAt = version.CreatedAt,
        DeletedAt = version.DeletedAt,
    };
}
