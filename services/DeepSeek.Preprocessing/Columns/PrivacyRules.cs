using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>Decides which columns are masked, how and why.</summary>
internal static class PrivacyRules
{
    /// <summary>Share of a column's values of one kind from which the whole column is masked. Below it, categories are cleaned cell by cell.</summary>
    public const double ColumnThreshold = 0.1;

    /// <summary>For plain digits, where one of ten random numbers has a right check digit.</summary>
    public const double DigitsThreshold = 0.5;

    public static Mask? Decide(ColumnScan scan, DatasetSpec spec, bool isTarget)
    {
        var name = scan.Source.Name;
        var found = Content(scan);
        if (spec.Privacy.Columns.TryGetValue(name, out var method))
        {
            return method == MaskMethod.Keep
                ? null
                : new Mask(method, found?.Kind ?? PersonalData.FromName(name), "asked for" + (found is { } f ? $"; {f.Why}" : ""), Mask.WidthFor(scan.Min, scan.Max));
        }
        if (!spec.Privacy.Detect)
        {
            return null;
        }
        if (found is { } content)
        {
            return isTarget
                ? throw new DataFault("target", $"column '{DataFault.Shown(name)}' {content.Why}; choose another target, or set privacy.columns to hash or keep for it.")
                : new Mask(MaskMethod.Redact, content.Kind, content.Why);
        }
        return !isTarget && PersonalData.FromName(name) is { } kind && Plausible(scan, kind)
            ? new Mask(MaskMethod.Redact, kind, $"its name says it holds {kind.Words()}")
            : null;
    }

    private static (PersonalKind Kind, string Why)? Content(ColumnScan scan)
    {
        if (scan.Values == 0)
        {
            return null;
        }
        var numeric = scan.Numbers > scan.Values / 2;
        foreach (var kind in Enum.GetValues<PersonalKind>())
        {
            var share = (double)scan.Personal(kind) / scan.Values;
            if (share > 0 && share >= (numeric ? DigitsThreshold : ColumnThreshold))
            {
                return (kind, $"{share:P1} of its values are {kind.Words()}");
            }
        }
        return null;
    }

    // A column "phone" of yes and no, or "email_count" of small numbers, holds nothing personal.
    private static bool Plausible(ColumnScan scan, PersonalKind kind)
    {
        if (scan.Values == 0 || scan.Booleans > 0 || scan.Source.Kind == CellKind.Boolean || scan.Distinct.Count <= 2)
        {
            return false;
        }
        var numeric = scan.Numbers == scan.Values;
        return kind switch
        {
            PersonalKind.PersonName or PersonalKind.Address or PersonalKind.Email or PersonalKind.IpAddress => !numeric,
            PersonalKind.BirthDate => !numeric || scan.LongNumbers * 2 >= scan.Values,
            _ => !numeric || scan.LongNumbers * 2 >= scan.Values,
        };
    }
}
