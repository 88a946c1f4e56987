using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>Where an alias shall point.</summary>
public sealed record AliasTarget
{
    public required int Version { get; init; }
}

/// <summary>One move of an alias; <c>version</c> is null when it was removed.</summary>
public sealed record AliasMoveView(string Alias, int? Version, Guid? VersionId, int? PreviousVersion, string Actor, DateTimeOffset At);

/// <summary>What an alias pointed to at a time, since when and until when, who put it there and who had approved it by then.</summary>
public sealed record AliasAtView(
    string Alias, DateTimeOffset At, int? Version, Guid? VersionId, string? MovedBy, DateTimeOffset? Since, DateTimeOffset? Until,
    IReadOnlyList<ApprovalView> Approvals, IReadOnlyDictionary<string, double> Metrics);

internal static class AliasHandlers
{
    public static async Task<Ok<IReadOnlyList<AliasView>>> ListAsync(string name, RegistryDb db, ModelQueries queries, CancellationToken cancellationToken)
    {
        var model = await queries.ModelAsync(name, cancellationToken);
        var aliases = await db.Aliases.AsNoTracking().Include(a => a.Version).Include(a => a.Move)
            .Where(a => a.ModelId == model.Id).OrderBy(a => a.Alias).ToListAsync(cancellationToken);
        return TypedResults.Ok<IReadOnlyList<AliasView>>([.. aliases.Select(ViewOf)]);
    }

    public static async Task<Ok<AliasView>> GetAsync(string name, string alias, HttpContext http, RegistryDb db, ModelQueries queries, CancellationToken cancellationToken)
    {
        var model = await queries.ModelAsync(name, cancellationToken);
        var found = await db.Aliases.AsNoTracking().Include(a => a.Version).Include(a => a.Move)
            .SingleOrDefaultAsync(a => a.ModelId == model.Id && a.Alias == alias, cancellationToken)
            ?? throw Problems.NotFound("alias", $"{model.Name}@{Names.Shorten(alias)}");
        ETags.Set(http, found.MoveId);
        return TypedResults.Ok(ViewOf(found));
    }

    public static async Task<Ok<AliasView>> PutAsync(
        string name, string alias, AliasTarget target, HttpContext http, AliasChanges changes, CancellationToken cancellationToken)
    {
        Names.RequireAlias(alias);
        var set = await changes.SetAsync(http, name, alias, target.Version, cancellationToken);
        ETags.Set(http, set.MoveId);
        return TypedResults.Ok(ViewOf(set));
    }

    public static async Task<NoContent> DeleteAsync(string name, string alias, HttpContext http, AliasChanges changes, CancellationToken cancellationToken)
    {
        await changes.RemoveAsync(http, name, alias, cancellationToken);
        return TypedResults.NoContent();
    }

    /// <summary>All moves, newest first; with <c>at</c>, what the alias pointed to at that time.</summary>
    public static async Task<Results<Ok<Page<AliasMoveView>>, Ok<AliasAtView>>> HistoryAsync(
        string name, string alias, DateTimeOffset? at, [AsParameters] PageRequest page, RegistryDb db, ModelQueries queries, CancellationToken cancellationToken)
    {
        var model = await db.Models.AsNoTracking().SingleOrDefaultAsync(m => m.Name == name, cancellationToken)
            ?? throw Problems.NotFound("model", Names.Shorten(name));
        var moves = db.AliasMoves.AsNoTracking().Where(m => m.ModelId == model.Id && m.Alias == alias);
        if (at is null)
        {
            return TypedResults.Ok(await moves.ToPageAsync(m => m.Id, page,
                m => new AliasMoveView(m.Alias, m.Version, m.VersionId, m.PreviousVersion, m.Actor, m.At), cancellationToken));
        }

        var time = at.Value.ToUniversalTime();
        var then = await moves.Where(m => m.At <= time).OrderByDescending(m => m.Id).FirstOrDefaultAsync(cancellationToken);
        var next = await moves.Where(m => m.At > time).OrderBy(m => m.Id).FirstOrDefaultAsync(cancellationToken);
        var version = then?.VersionId is { } id ? await queries.Whole.SingleAsync(v => v.Id == id, cancellationToken) : null;
        return TypedResults.Ok(new AliasAtView(alias, time, then?.Version, then?.VersionId, then?.Actor, then?.At, next?.At,
            [.. (version?.Approvals ?? []).Where(a => a.At <= time).OrderBy(a => a.At).Select(ApprovalView.Of)],
            (version?.Metrics ?? []).ToDictionary(m => m.Name, m => m.Value)));
    }

    private static AliasView ViewOf(ModelAlias alias) =>
        new(alias.Alias, alias.Version!.Version, alias.VersionId, alias.Move!.Actor, alias.Move.At);
}
