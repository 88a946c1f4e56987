using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

internal static class ModelHandlers
{
    /// <summary>Models in order of their names; <c>search</c> as <see cref="Search"/> reads it.</summary>
    public static async Task<Ok<Page<ModelView>>> ListAsync(string? search, [AsParameters] PageRequest page, RegistryDb db, CancellationToken cancellationToken)
    {
        var models = Search.Apply(db.Models.AsNoTracking().Where(m => m.DeletedAt == null), search);
        var found = await models.ToPageAsync(m => m.Name, page, m => m, cancellationToken, descending: false);
        return TypedResults.Ok(new Page<ModelView>(await ViewAsync(found.Items, db, cancellationToken), found.Next));
    }

    public static async Task<Ok<ModelView>> GetAsync(string name, RegistryDb db, ModelQueries queries, CancellationToken cancellationToken) =>
        TypedResults.Ok((await ViewAsync([await queries.ModelAsync(name, cancellationToken)], db, cancellationToken)).Single());

    public static async Task<NoContent> DeleteAsync(string name, HttpContext http, Deletion deletion, CancellationToken cancellationToken)
    {
        await deletion.DeleteModelAsync(name, http.User.Actor(), cancellationToken);
        return TypedResults.NoContent();
    }

    /// <summary>Adds what the database counts, so that a model of many versions costs no more than one of few.</summary>
    private static async Task<IReadOnlyList<ModelView>> ViewAsync(IReadOnlyList<Model> models, RegistryDb db, CancellationToken cancellationToken)
    {
        var ids = models.Select(m => m.Id).ToArray();
        var counts = await db.Versions.Where(v => ids.Contains(v.ModelId) && v.DeletedAt == null).GroupBy(v => v.ModelId)
            .Select(g => new { g.Key, Latest = g.Max(v => v.Version), Count = g.Count() }).ToDictionaryAsync(g => g.Key, cancellationToken);
        var aliases = (await db.Aliases.Where(a => ids.Contains(a.ModelId)).OrderBy(a => a.Alias)
            .Select(a => new { a.ModelId, a.Alias, a.Version!.Version }).ToListAsync(cancellationToken)).ToLookup(a => a.ModelId);
        return [.. models.Select(m => new ModelView(m.Id, m.Name, m.CreatedBy, m.CreatedAt,
            counts.GetValueOrDefault(m.Id)?.Latest ?? 0, counts.GetValueOrDefault(m.Id)?.Count ?? 0, aliases[m.Id].ToDictionary(a => a.Alias, a => a.Version)))];
    }
}
