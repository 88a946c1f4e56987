using System.Globalization;
using System.Text.RegularExpressions;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>
/// The search language of the list of models. Words are separated by spaces and all must hold, those about versions for one and the same
/// version: a plain word is part of the model's name; <c>author:ann</c>, <c>alias:production</c>, <c>source:run</c>,
/// <c>dataset:&lt;id or manifest hash&gt;</c>, <c>artifact:&lt;hash&gt;</c>; <c>metrics.accuracy&gt;=0.95</c> with &gt;, &gt;=, &lt;, &lt;=.
/// </summary>
internal static partial class Search
{
    private const int MaxTerms = 16;

    public static IQueryable<Model> Apply(IQueryable<Model> models, string? search)
    {
        var terms = (search ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (terms.Length > MaxTerms)
            throw Problems.Invalid("search", $"may have {MaxTerms} words at most.");
        IQueryable<ModelVersion>? versions = null;
        foreach (var term in terms)
        {
            if (Comparison().Match(term) is { Success: true } comparison)
                versions = WhereMetric(versions ?? Living(models), comparison);
            else if (Field().Match(term) is { Success: true } field)
                versions = WhereField(versions ?? Living(models), field.Groups[1].Value, field.Groups[2].Value);
            else
                models = models.Where(m => m.Name.Contains(term.ToLowerInvariant()));
        }

        return versions is null ? models : models.Where(m => versions.Any(v => v.ModelId == m.Id));
    }

    private static IQueryable<ModelVersion> Living(IQueryable<Model> models) =>
        models.SelectMany(m => m.Versions).Where(v => v.DeletedAt == null);

    private static IQueryable<ModelVersion> WhereField(IQueryable<ModelVersion> versions, string field, string value) => field switch
    {
        "author" => versions.Where(v => v.Author == value),
        "alias" => versions.Where(v => v.Aliases.Any(a => a.Alias == value)),
        "artifact" => versions.Where(v => v.Artifacts.Any(a => a.Sha256 == value)),
        "dataset" when Guid.TryParse(value, out var id) => versions.Where(v => v.DatasetId == id),
        "dataset" => versions.Where(v => v.DatasetManifestSha256 == value),
        "source" when Enum.TryParse<SourceKind>(value, ignoreCase: true, out var kind) && !char.IsDigit(value[0]) => versions.Where(v => v.SourceKind == kind),
        "source" => throw Problems.Invalid("search", $"'source:{Names.Shorten(value)}': sources are run, compression and manual."),
        _ => throw Problems.Invalid("search", $"'{field}:' is no field; there are author, alias, source, dataset, artifact, and metrics.<name> with a comparison."),
    };

    private static IQueryable<ModelVersion> WhereMetric(IQueryable<ModelVersion> versions, Match match)
    {
        var (name, operation) = (match.Groups[1].Value, match.Groups[2].Value);
        if (!double.TryParse(match.Groups[3].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var bound))
            throw Problems.Invalid("search", $"'{Names.Shorten(match.Groups[3].Value)}' is not a number; write for example metrics.accuracy>=0.95.");
        return operation switch
        {
            ">" => versions.Where(v => v.Metrics.Any(m => m.Name == name && m.Value > bound)),
            ">=" => versions.Where(v => v.Metrics.Any(m => m.Name == name && m.Value >= bound)),
            "<" => versions.Where(v => v.Metrics.Any(m => m.Name == name && m.Value < bound)),
            _ => versions.Where(v => v.Metrics.Any(m => m.Name == name && m.Value <= bound)),
        };
    }

    [GeneratedRegex(@"^metrics\.([^<>=]+)(>=|<=|>|<)(.*)\z")]
    private static partial Regex Comparison();

    [GeneratedRegex("^([a-z]+):(.+)\\z")]
    private static partial Regex Field();
}
