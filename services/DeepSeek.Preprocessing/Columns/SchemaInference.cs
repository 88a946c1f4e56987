using System.Globalization;
using System.Text.RegularExpressions;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>Turns what the scan saw and what the user said into a plan for every column.</summary>
internal sealed partial class SchemaInference(DatasetSpec spec, MaskingKey key)
{
    /// <summary>Text with more distinct values than this is free text, whatever the number of rows.</summary>
    public const int MaxInferredCategories = 1000;

    /// <summary>So is text that has fewer than two rows for each distinct value, once it has more than this many.</summary>
    public const int FewCategories = 20;

    /// <summary>Inputs of a model carry their columns' names beside these.</summary>
    /// <summary>Names of tensors that models have of their own.</summary>
    public static readonly string[] ReservedNames = ["features", "logits", "label", "probabilities", "prediction"];

    private const int RegressionDistinct = 20;
    private readonly List<string> _warnings = [];

    public TablePlan Decide(IReadOnlyList<ColumnScan> scans)
    {
        CheckNames(scans);
        var targetName = DatasetSpecRules.TargetOf(spec)!;
        var columns = scans.Select((scan, index) => Column(scan, index, scan.Source.Name == targetName)).ToList();
        var target = columns.Single(c => c.Role == ColumnRole.Target);
        var targetScan = scans[target.Index];
        var task = spec.Task ?? InferTask(targetScan, target);
        target = task == LearningTask.Regression
            ? RegressionTarget(target, targetScan)
            : target with { Type = target.Type == ColumnType.Boolean ? ColumnType.Boolean : ColumnType.Categorical };
        columns[target.Index] = target;
        var (classes, classRows) = task == LearningTask.Classification ? Classes(targetScan, target) : ([], []);
        if (columns.All(c => !c.IsFeature))
        {
            var others = columns.Where(c => c.Role != ColumnRole.Target).Take(10).Select(c => $"'{DataFault.Shown(c.Name)}' {c.Reason ?? c.Role.ToString().ToLowerInvariant()}").ToList();
            throw new DataFault("columns", others.Count == 0
                ? $"no column is left to learn from: '{DataFault.Shown(target.Name)}', the target, is the only one."
                : $"no column is left to learn from: {string.Join("; ", others)}.");
        }
        if (columns.FirstOrDefault(c => c.IsFeature && ReservedNames.Contains(c.Name)) is { } reserved)
        {
            throw new DataFault($"columns.{reserved.Name}", $"the name '{reserved.Name}' is that of a model's own tensor; rename the column or give it the role ignore.");
        }
        return new TablePlan(columns, task, target, classes, classRows, _warnings);
    }

    private void CheckNames(IReadOnlyList<ColumnScan> scans)
    {
        var names = scans.Select(s => s.Source.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var (field, wanted) in spec.Columns.Keys.Select(c => ("columns", c)).Concat(spec.Privacy.Columns.Keys.Select(c => ("privacy.columns", c))))
        {
            if (!names.Contains(wanted))
            {
                throw new DataFault($"{field}.{DataFault.Shown(wanted)}", "the file has no such column.");
            }
        }
        if (spec.Split.Column is { } column && !names.Contains(column))
        {
            throw new DataFault("split.column", $"the file has no column '{DataFault.Shown(column)}'.");
        }
    }

    private ColumnPlan Column(ColumnScan scan, int index, bool isTarget)
    {
        var given = spec.Columns.GetValueOrDefault(scan.Source.Name) ?? new ColumnSpec();
        var role = isTarget ? ColumnRole.Target : given.Role ?? SplitRole(scan.Source.Name);
        var mask = role == ColumnRole.Ignore ? null : PrivacyRules.Decide(scan, spec, isTarget);
        var (type, reason) = given.Type is { } fixedType ? (Fixed(scan, fixedType), null) : Infer(scan);
        var plan = new ColumnPlan
        {
            Index = index,
            Name = scan.Source.Name,
            Type = type,
            Role = role ?? ColumnRole.Feature,
            Mask = mask,
            Clean = spec.Privacy.Detect && spec.Privacy.Columns.GetValueOrDefault(scan.Source.Name, MaskMethod.Redact) != MaskMethod.Keep,
            DateForm = DateForms.Choose(scan.DateForms),
            Missing = given.Missing ?? (type is ColumnType.Numeric or ColumnType.DateTime ? spec.Missing.Numeric : spec.Missing.Categorical),
            Fill = given.Fill,
            Scaling = given.Scaling ?? spec.Scaling,
        };
        CheckMissing(plan, given);
        if (type == ColumnType.DateTime && scan.DateForms.HasFlag(DateForm.MonthSlashDay | DateForm.DaySlashMonth) && plan.DateForm == DateForm.MonthSlashDay)
        {
            _warnings.Add($"column '{DataFault.Shown(plan.Name)}': every date fits both month/day and day/month; read as month/day/year.");
        }
        if (scan.Embedded > 0 && mask is null && plan.Clean)
        {
            _warnings.Add($"column '{DataFault.Shown(plan.Name)}': {scan.Embedded:N0} values hold personal data inside other text; those pieces are replaced where the values are stored.");
        }
        if (mask is not null)
        {
            plan = Masked(plan, mask);
        }
        return role is null && plan.Role == ColumnRole.Feature && Unusable(scan, plan, given) is { } why
            ? plan with { Role = why.Id ? ColumnRole.Id : ColumnRole.Ignore, Reason = why.Reason }
            : plan with { Reason = plan.Reason ?? reason };
    }

    private ColumnRole? SplitRole(string name) => spec.Split.Column != name ? null
        : spec.Split.Method == SplitMethod.Time ? ColumnRole.Time
        : spec.Split.Method == SplitMethod.Grouped ? ColumnRole.Group
        : null;

    private static ColumnPlan Masked(ColumnPlan plan, Mask mask)
    {
        if (mask.Method == MaskMethod.Redact)
        {
            return plan.Role is ColumnRole.Group or ColumnRole.Time
                ? plan with { Mask = mask } // still splits the rows, in memory; nothing of it is stored
                : plan with { Mask = mask, Role = ColumnRole.Ignore, Reason = $"redacted: {mask.Why}" };
        }
        var stays = mask.Method == MaskMethod.Generalise && plan.Type is ColumnType.Numeric or ColumnType.DateTime;
        return plan with
        {
            Mask = mask,
            Type = stays || plan.Role == ColumnRole.Time ? plan.Type : ColumnType.Categorical,
            Missing = stays ? plan.Missing : plan.Missing is MissingPolicy.Constant ? MissingPolicy.Constant : MissingPolicy.Mode,
        };
    }

    private static (ColumnType Type, string? Reason) Infer(ColumnScan scan)
    {
        switch (scan.Source.Kind)
        {
            case CellKind.Boolean:
                return (ColumnType.Boolean, null);
            case CellKind.Instant:
                return (ColumnType.DateTime, null);
            case CellKind.Number:
                return (ColumnType.Numeric, null);
        }
        if (scan.Values == 0)
        {
            return (ColumnType.Text, null);
        }
        if (scan.Numbers == scan.Values)
        {
            return (ColumnType.Numeric, null);
        }
        if (scan.Booleans == scan.Values && scan.Distinct.Count <= 2)
        {
            return (ColumnType.Boolean, null);
        }
        if (scan.Dates == scan.Values && DateForms.Choose(scan.DateForms) != DateForm.None)
        {
            return (ColumnType.DateTime, null);
        }
        var distinct = scan.Distinct.Count;
        if (distinct > MaxInferredCategories || (distinct > FewCategories && distinct * 2 > scan.Values))
        {
            return (ColumnType.Text, $"free text: {distinct:N0} distinct values in {scan.Values:N0} rows; set its type to categorical to learn from it");
        }
        return (ColumnType.Categorical, scan.Numbers * 10 >= scan.Values * 9
            ? $"{(double)scan.Numbers / scan.Values:P1} of its values are numbers, but not the one in row {scan.FirstNonNumber}: read as categories"
            : null);
    }

    private static ColumnType Fixed(ColumnScan scan, ColumnType type)
    {
        var name = scan.Source.Name;
        if (type == ColumnType.Numeric && scan.Source.Kind == CellKind.Text && scan.Numbers < scan.Values)
        {
            throw DataFault.At(scan.FirstNonNumber, name, "is not a number, though the spec says numeric. Correct the cell, empty it, or use another type.");
        }
        return (scan.Source.Kind, type) switch
        {
            (CellKind.Instant or CellKind.Boolean, ColumnType.Categorical or ColumnType.Text)
                or (CellKind.Instant, ColumnType.Numeric or ColumnType.Boolean)
                or (CellKind.Boolean or CellKind.Number, ColumnType.DateTime) =>
                throw new DataFault($"columns.{DataFault.Shown(name)}.type", $"the file stores this column as {scan.Source.Kind.ToString().ToLowerInvariant()}; it cannot be read as {type.ToString().ToLowerInvariant()}."),
            _ => type,
        };
    }

    private static void CheckMissing(ColumnPlan plan, ColumnSpec given)
    {
        var numeric = plan.Type is ColumnType.Numeric or ColumnType.DateTime;
        if (given.Missing is MissingPolicy.Median or MissingPolicy.Mean && !numeric || given.Missing == MissingPolicy.Mode && numeric)
        {
            throw new DataFault($"columns.{DataFault.Shown(plan.Name)}.missing", $"a {plan.Type.ToString().ToLowerInvariant()} column takes {(numeric ? "median, mean" : "mode")} or constant.");
        }
        if (numeric && given.Fill is { } fill && !(double.TryParse(fill, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)))
        {
            throw new DataFault($"columns.{DataFault.Shown(plan.Name)}.fill", "must be a finite number (seconds since 1970 for dates).");
        }
    }

    private (string Reason, bool Id)? Unusable(ColumnScan scan, ColumnPlan plan, ColumnSpec given)
    {
        var distinct = scan.Distinct.Count;
        if (scan.FirstInfinite > 0 && plan.Type == ColumnType.Numeric)
        {
            throw DataFault.At(scan.FirstInfinite, plan.Name, "is infinite or too large for a number. Correct the cell or empty it.");
        }
        if (distinct <= 1)
        {
            return (scan.Values == 0 ? "no value in any row" : "the same value in every row", false);
        }
        if (given.Type is not null)
        {
            return null;
        }
        var unique = scan.Values >= 20 && distinct >= scan.Values * 0.95;
        var whole = scan.Numbers == scan.Values && scan.Wholes == scan.Values;
        if (plan.Mask is null && unique && (whole || plan.Type == ColumnType.Text) && IdName().IsMatch(plan.Name))
        {
            return ($"looks like an identifier: its name, and {distinct:N0} distinct values in {scan.Values:N0} rows; give it the role feature to learn from it", true);
        }
        if (whole && plan.Index == 0 && scan.Values >= 20 && scan.Missing == 0 && scan.Counts)
        {
            return ("counts the rows; give it the role feature to learn from it", true);
        }
        return plan.Type == ColumnType.Text || (plan.Mask is not null && plan.Type == ColumnType.Categorical && distinct > MaxInferredCategories)
            ? (Infer(scan).Reason ?? "free text", false)
            : null;
    }

    private static LearningTask InferTask(ColumnScan scan, ColumnPlan target) =>
        target.Type == ColumnType.Numeric && (scan.Distinct.Count > RegressionDistinct || scan.Wholes < scan.Numbers) ? LearningTask.Regression : LearningTask.Classification;

    private static ColumnPlan RegressionTarget(ColumnPlan target, ColumnScan scan)
    {
        if (target.Type != ColumnType.Numeric)
        {
            throw scan.FirstNonNumber > 0
                ? DataFault.At(scan.FirstNonNumber, target.Name, "is not a number; a regression needs numbers in its target. Correct it or set task to classification.")
                : new DataFault("target", $"column '{DataFault.Shown(target.Name)}' is {target.Type.ToString().ToLowerInvariant()}; a regression needs numbers. Set task to classification.");
        }
        if (scan.FirstInfinite > 0)
        {
            throw DataFault.At(scan.FirstInfinite, target.Name, "is infinite or too large for a number.");
        }
        return scan.Distinct.Count > 1 ? target : throw ColumnPresence.OneValue(target.Name);
    }

    private (List<string>, List<long>) Classes(ColumnScan scan, ColumnPlan target)
    {
        var counts = scan.Classes!;
        if (counts.Count > ColumnScan.MaxClasses || target.Type is ColumnType.Text or ColumnType.DateTime && counts.Count * 2 > scan.Values)
        {
            throw new DataFault("target", $"column '{DataFault.Shown(target.Name)}' has {scan.Distinct.Count:N0} distinct values, too many for classes (at most {ColumnScan.MaxClasses:N0}, two rows each). Choose another target{(scan.Numbers == scan.Values ? " or set task to regression" : "")}.");
        }
        var classes = new SortedDictionary<string, long>(scan.Numbers == scan.Values ? NumericOrder.Instance : StringComparer.Ordinal);
        foreach (var (text, count) in counts)
        {
            var name = ClassName(text, target);
            classes[name] = classes.GetValueOrDefault(name) + count;
        }
        return classes.Count > 1 ? ([.. classes.Keys], [.. classes.Values]) : throw ColumnPresence.OneValue(target.Name);
    }

    /// <summary>The class a target cell stands for.</summary>
    private string ClassName(string text, ColumnPlan target) =>
        target.Mask is { } mask ? mask.Apply(text, key)
        : target.Clean ? PersonalData.RedactInside(text) ?? text
        : text;

    private sealed class NumericOrder : IComparer<string>
    {
        public static readonly NumericOrder Instance = new();

        public int Compare(string? x, string? y)
        {
            var byValue = Parse(x).CompareTo(Parse(y));
            return byValue != 0 ? byValue : string.CompareOrdinal(x, y);
        }

        private static double Parse(string? text) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : double.PositiveInfinity;
    }

    [GeneratedRegex(@"^((?i:ids?|uuid|guid|key|index|idx|row|row[ _-]?(n|no|nr|num|number)|unnamed: 0|column1|.*[ _-](id|uuid|guid|key))|.*(?<=\p{Ll})(Id|ID|Uuid|UUID|Guid|GUID|Key))\z", RegexOptions.CultureInvariant)]
    private static partial Regex IdName();
}
