using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>A decision about a version.</summary>
public sealed record ApprovalRequest
{
    public required Decision Decision { get; init; }

    /// <summary>Why; at most 2000 characters.</summary>
    public string Comment { get; init; } = "";
}

internal static class ApprovalHandlers
{
    public static async Task<Created<ApprovalView>> PostAsync(
        string name, int version, ApprovalRequest request, HttpContext http, RegistryDb db, AuditLog audit, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (request.Comment.Length > 2000)
            throw Problems.Invalid("comment", "may have 2000 characters at most.");
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var model = await db.LockModelAsync(name, cancellationToken);
        var found = await db.Versions.SingleOrDefaultAsync(v => v.ModelId == model.Id && v.Version == version && v.DeletedAt == null, cancellationToken)
            ?? throw Problems.NotFound("model version", $"{model.Name}/{version}");
        var actor = http.User.Actor();
        if (actor == found.Author)
            throw Problems.Forbidden($"'{actor}' is the author of version {version} of '{model.Name}'; somebody else must decide about it.");

        var approval = new VersionApproval
        {
            Id = Guid.CreateVersion7(),
            VersionId = found.Id,
            Decision = request.Decision,
            Actor = actor,
            Comment = request.Comment,
            At = AuditChain.Truncate(clock.GetUtcNow()),
        };
        db.Add(approval);
        var action = request.Decision == Decision.Approve ? "version.approved" : "version.rejected";
        await audit.CommitAsync(db, transaction,
            [audit.Draft(actor, action, $"model/{model.Name}/{version}", new { versionId = found.Id, request.Comment })], cancellationToken);
        return TypedResults.Created($"/api/v1/models/{model.Name}/versions/{version}", ApprovalView.Of(approval));
    }
}
