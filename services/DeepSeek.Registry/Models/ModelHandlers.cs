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
        var models = Search.Apply(db.Models.AsNoTracking().AsSplitQuery().Where(m => m.DeletedAt == null), search)
            .Include(m => m.Versions.Where(v => v.DeletedAt == null)).Include(m => m.Aliases);
        return TypedResults.Ok(await models.ToPageAsync(m => m.Name, page, ViewOf, cancellationToken, descending: false));
    }

    public static async Task<Ok<ModelView>> GetAsync(string name, RegistryDb db, CancellationToken cancellationToken)
    {
        var model = await db.Models.AsNoTracking().AsSplitQuery()
            .Include(m => m.Versions.Where(v => v.DeletedAt == null)).Include(m => m.Aliases)
            .SingleOrDefaultAsync(m => m.Name == name && m.DeletedAt == null, cancellationToken)
            ?? throw Problems.NotFound("model", Names.Shorten(name));
        return TypedResults.Ok(ViewOf(model));
    }

    public static async Task<NoContent> DeleteAsync(string name, HttpContext http, Deletion deletion, CancellationToken cancellationToken)
    {
        await deletion.DeleteModelAsync(name, http.User.Actor(), cancellationToken);
        return TypedResults.NoContent();
    }

    private static ModelView ViewOf(Model model)
    {
        var numbers = model.Versions.ToDictionary(v => v.Id, v => v.Version);
        return new ModelView(model.Id, model.Name, model.CreatedBy, model.CreatedAt, numbers.Values.DefaultIfEmpty().Max(), numbers.Count,
            model.Aliases.OrderBy(a => a.Alias, StringComparer.Ordinal).ToDictionary(a => a.Alias, a => numbers[a.VersionId]));
    }
}
