using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Models;

/// <summary>Sets and removes aliases: each change is checked, moved, written to history and audit log, and announced in one transaction.</summary>
public sealed class AliasChanges(RegistryDb db, AuditLog audit, IOptions<RegistryOptions> options, TimeProvider clock)
{
    public async Task<ModelAlias> SetAsync(HttpContext http, string name, string alias, int number, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var model = await db.LockModelAsync(name, cancellationToken);
        var current = await FindAsync(model, alias, cancellationToken);
        if (current is null)
        {
            ETags.RequireNew(http);
        }
        else
        {
            ETags.RefuseExisting(http);
            ETags.Require(http, current.MoveId);
        }

        var version = await db.Versions.Include(v => v.Approvals)
            .SingleOrDefaultAsync(v => v.ModelId == model.Id && v.Version == number && v.DeletedAt == null, cancellationToken)
            ?? throw Problems.Invalid("version", $"The model '{model.Name}' has no version {number}.");
        RequireApproval(model, alias, version);
        if (current?.VersionId == version.Id)
            return current;

        var move = Move(model, alias, version, current?.Version?.Version, http.User.Actor());
        if (current is null)
            db.Add(current = new ModelAlias { ModelId = model.Id, Alias = alias, VersionId = version.Id, Version = version, Move = move });
        else
            (current.Version, current.Move) = (version, move);
        await CommitAsync(model, move, "alias.moved", transaction, cancellationToken);
        return current;
    }

    public async Task RemoveAsync(HttpContext http, string name, string alias, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var model = await db.LockModelAsync(name, cancellationToken);
        var current = await FindAsync(model, alias, cancellationToken) ?? throw Problems.NotFound("alias", $"{model.Name}@{alias}");
        ETags.Check(http, current.MoveId);
        var move = Move(model, alias, null, current.Version!.Version, http.User.Actor());
        db.Remove(current);
        await CommitAsync(model, move, "alias.removed", transaction, cancellationToken);
    }

    private Task<ModelAlias?> FindAsync(Model model, string alias, CancellationToken cancellationToken) =>
        db.Aliases.Include(a => a.Version).Include(a => a.Move).SingleOrDefaultAsync(a => a.ModelId == model.Id && a.Alias == alias, cancellationToken);

    private void RequireApproval(Model model, string alias, ModelVersion version)
    {
        if (!options.Value.GuardedAliases.Contains(alias))
            return;
        var state = Approvals.StateOf(version, options.Value.RequiredApprovals);
        if (state == ApprovalState.Rejected)
            throw Problems.Conflict($"Version {version.Version} of '{model.Name}' was rejected; @{alias} takes only approved versions. Whoever rejected it can approve it later.");
        if (state == ApprovalState.Pending)
        {
            throw Problems.Conflict(
                $"Version {version.Version} of '{model.Name}' is not approved; @{alias} takes only approved versions. Let {options.Value.RequiredApprovals} approver(s) other than its author '{version.Author}' POST to /api/v1/models/{model.Name}/versions/{version.Version}/approvals.");
        }
    }

    private AliasMove Move(Model model, string alias, ModelVersion? version, int? previous, string actor)
    {
        var move = new AliasMove
        {
            ModelId = model.Id,
            Alias = alias,
            Version = version?.Version,
            VersionId = version?.Id,
            PreviousVersion = previous,
            Actor = actor,
            At = AuditChain.Truncate(clock.GetUtcNow()),
        };
        db.Add(move);
        return move;
    }

    private async Task CommitAsync(
        Model model, AliasMove move, string action, Microsoft.EntityFrameworkCore.Storage.IDbContextTransaction transaction, CancellationToken cancellationToken)
    {
        db.Publish(new AliasMoved
        {
            ModelName = model.Name,
            Alias = move.Alias,
            Version = move.Version,
            VersionId = move.VersionId,
            PreviousVersion = move.PreviousVersion,
            Actor = move.Actor,
            At = move.At,
        });
        await audit.CommitAsync(db, transaction,
            [audit.Draft(move.Actor, action, $"model/{model.Name}@{move.Alias}", new { move.Version, move.VersionId, move.PreviousVersion })], cancellationToken);
        RegistryTelemetry.AliasMoves.Add(1);
    }
}
