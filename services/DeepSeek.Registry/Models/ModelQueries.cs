using System.Globalization;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Models;

/// <summary>Reads of models and versions that several endpoints share.</summary>
public sealed class ModelQueries(RegistryDb db, IOptions<RegistryOptions> options)
{
    /// <summary>Versions with all that a view shows.</summary>
    public IQueryable<ModelVersion> Whole => db.Versions.AsNoTracking().AsSplitQuery()
        .Include(v => v.Model).Include(v => v.Artifacts).Include(v => v.Metrics).Include(v => v.Approvals).Include(v => v.Aliases);

    public VersionView View(ModelVersion version) => VersionView.Of(version, options.Value.RequiredApprovals);

    public async Task<Model> ModelAsync(string name, CancellationToken cancellationToken) =>
        await db.Models.AsNoTracking().SingleOrDefaultAsync(m => m.Name == name && m.DeletedAt == null, cancellationToken)
        ?? throw Problems.NotFound("model", Names.Shorten(name));

    public async Task<ModelVersion> VersionAsync(string name, int number, CancellationToken cancellationToken)
    {
        var version = await Whole.SingleOrDefaultAsync(v => v.Model!.Name == name && v.Version == number, cancellationToken)
            ?? throw Problems.NotFound("model version", $"{Names.Shorten(name)}/{number}");
        return version.DeletedAt is { } at ? throw Deleted(version, at) : version;
    }

    /// <summary>The version a reference means now: a number, an alias (with or without <c>@</c>), or <c>latest</c>.</summary>
    public async Task<ModelVersion> ResolveAsync(string name, string reference, CancellationToken cancellationToken)
    {
        var text = reference.StartsWith('@') ? reference[1..] : reference;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return await VersionAsync(name, number, cancellationToken);
        var model = await ModelAsync(name, cancellationToken);
        if (text == Names.Latest)
        {
            return await Whole.Where(v => v.ModelId == model.Id && v.DeletedAt == null).OrderByDescending(v => v.Version).FirstOrDefaultAsync(cancellationToken)
                ?? throw Problems.NotFound("version of model", model.Name);
        }

        return await Whole.SingleOrDefaultAsync(v => v.Aliases.Any(a => a.ModelId == model.Id && a.Alias == text), cancellationToken)
            ?? throw Problems.NotFound("alias", $"{model.Name}@{Names.Shorten(text)}");
    }

    /// <summary>It was there, and what it was is still known under its id.</summary>
    private static ApiProblem Deleted(ModelVersion version, DateTimeOffset at) =>
        new(StatusCodes.Status404NotFound, "Not found",
            $"Version {version.Version} of '{version.Model!.Name}' was deleted by {version.DeletedBy} at {at:O}; GET /api/v1/models/versions/{version.Id} still tells what it was.");
}
