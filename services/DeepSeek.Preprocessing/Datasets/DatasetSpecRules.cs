using System.Globalization;
using System.Text.RegularExpressions;

namespace DeepSeek.Preprocessing.Datasets;

/// <summary>What can be checked of a spec before a byte of the file is read.</summary>
internal static partial class DatasetSpecRules
{
    public const int MaxSpecColumns = 10_000;

    /// <exception cref="DataFault">The first rule that is broken.</exception>
    public static void Check(DatasetSpec spec)
    {
        if (!DatasetName().IsMatch(spec.Name))
        {
            throw new DataFault("name", "must be 1 to 100 letters, digits, spaces, '.', '_' or '-', starting with a letter or digit.");
        }
        var images = spec.Format is DatasetFormat.Idx or DatasetFormat.ImageZip;
        CheckDefined<DatasetFormat>(spec.Format, "format");
        CheckDefined<Scaling>(spec.Scaling, "scaling");
        CheckDefined(spec.Task, "task");
        Range(spec.MaxCategories, 2, 1000, "maxCategories");
        Range(spec.Priority, 0, 100, "priority");
        CheckSplit(spec, images);
        if (spec.Missing.Numeric == MissingPolicy.Mode)
        {
            throw new DataFault("missing.numeric", "must be median, mean or constant.");
        }
        if (spec.Missing.Categorical is not (MissingPolicy.Mode or MissingPolicy.Constant))
        {
            throw new DataFault("missing.categorical", "must be mode or constant.");
        }
        if (images)
        {
            CheckImages(spec);
            return;
        }
        if (string.IsNullOrWhiteSpace(TargetOf(spec)))
        {
            throw new DataFault("target", spec.Task == LearningTask.LanguageModeling ? "name the column that holds the texts." : "name the column to predict.");
        }
        CheckCsv(spec.Csv);
        CheckColumns(spec);
        LanguageRules.Check(spec);
    }

    /// <summary>The target, named at the top or by the one column with that role.</summary>
    public static string? TargetOf(DatasetSpec spec) =>
        spec.Target ?? spec.Columns.FirstOrDefault(c => c.Value.Role == ColumnRole.Target).Key;

    private static void CheckSplit(DatasetSpec spec, bool images)
    {
        var split = spec.Split;
        foreach (var (name, share) in new[] { ("train", split.Train), ("validation", split.Validation), ("test", split.Test) })
        {
            if (!double.IsFinite(share) || share is < 0 or > 1)
            {
                throw new DataFault($"split.{name}", "must be a share between 0 and 1.");
            }
        }
        if (split.Train <= 0)
        {
            throw new DataFault("split.train", "must be above 0: the feature pipeline is fitted on this part.");
        }
        if (Math.Abs(split.Train + split.Validation + split.Test - 1) > 1e-6)
        {
            throw new DataFault("split", "train, validation and test must add up to 1.");
        }
        Range(split.Seed, 0, int.MaxValue, "split.seed");
        if (split.Method is { } method)
        {
            CheckDefined<SplitMethod>(method, "split.method");
            if (images && method is (SplitMethod.Grouped or SplitMethod.Time))
            {
                throw new DataFault("split.method", "images have no columns to group or order by; use stratified or random.");
            }
            var byColumn = method is SplitMethod.Grouped or SplitMethod.Time;
            var role = method == SplitMethod.Grouped ? ColumnRole.Group : ColumnRole.Time;
            if (byColumn && SplitColumnOf(spec, role) is null)
            {
                throw new DataFault("split.column", $"name the column to split by, or give one column the role {role.ToString().ToLowerInvariant()}.");
            }
        }
    }

    public static string? SplitColumnOf(DatasetSpec spec, ColumnRole role) =>
        spec.Split.Column ?? spec.Columns.FirstOrDefault(c => c.Value.Role == role).Key;

    private static void CheckImages(DatasetSpec spec)
    {
        if (spec.Columns.Count > 0)
        {
            throw new DataFault("columns", "image datasets have no columns to describe.");
        }
        if (spec.Task is LearningTask.Regression or LearningTask.LanguageModeling)
        {
            throw new DataFault("task", "images with labels are a classification.");
        }
        if (spec.Target is not null)
        {
            throw new DataFault("target", "the labels are the target of an image dataset; leave it out.");
        }
    }

    private static void CheckCsv(CsvSpec csv)
    {
        if (csv.Delimiter is { } delimiter && (delimiter.Length != 1 || delimiter[0] is > '~' or '\n' or '\r' or '\0'))
        {
            throw new DataFault("csv.delimiter", "must be one ASCII character other than a line end.");
        }
        if (csv.Quote is not { Length: 1 } quote || quote[0] is > '~' or <= ' ')
        {
            throw new DataFault("csv.quote", "must be one printable ASCII character.");
        }
        if (csv.Delimiter == csv.Quote)
        {
            throw new DataFault("csv.quote", "must differ from the delimiter.");
        }
        _ = Sources.TextEncodings.Find(csv.Encoding);
    }

    private static void CheckColumns(DatasetSpec spec)
    {
        if (spec.Columns.Count > MaxSpecColumns)
        {
            throw new DataFault("columns", $"describes more than {MaxSpecColumns} columns.");
        }
        var target = TargetOf(spec)!;
        foreach (var (name, column) in spec.Columns)
        {
            var field = $"columns.{DataFault.Shown(name)}";
            CheckDefined(column.Type, field + ".type");
            CheckDefined(column.Role, field + ".role");
            CheckDefined(column.Missing, field + ".missing");
            CheckDefined(column.Scaling, field + ".scaling");
            if (column.Type == ColumnType.Image)
            {
                throw new DataFault(field + ".type", "a table cannot hold images; use the format idx or imageZip.");
            }
            if (column.Type == ColumnType.Text && (column.Role == ColumnRole.Feature || (name == target && spec.Task != LearningTask.LanguageModeling)))
            {
                throw new DataFault(field + ".type", "free text is neither a feature nor a target, but of the task languageModeling; use that, categorical, or the role ignore.");
            }
            if (column.Role == ColumnRole.Target && name != target)
            {
                throw new DataFault(field + ".role", $"the target is already '{DataFault.Shown(target)}'.");
            }
            if (name == target && column.Role is not (null or ColumnRole.Target))
            {
                throw new DataFault(field + ".role", "this column is the target; drop the role or name another target.");
            }
            if (column.Fill is not null && column.Missing != MissingPolicy.Constant)
            {
                throw new DataFault(field + ".fill", "belongs to missing: constant.");
            }
            if (column.Fill is { } fill && column.Type is ColumnType.Numeric
                && !(double.TryParse(fill, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)))
            {
                throw new DataFault(field + ".fill", "must be a finite number.");
            }
        }
        foreach (var (name, method) in spec.Privacy.Columns)
        {
            CheckDefined<MaskMethod>(method, $"privacy.columns.{DataFault.Shown(name)}");
            if (name == target && method is MaskMethod.Redact)
            {
                throw new DataFault($"privacy.columns.{DataFault.Shown(name)}", "a redacted target leaves nothing to learn; use hash or generalise.");
            }
        }
    }

    internal static void Range(int value, int least, int most, string field)
    {
        if (value < least || value > most)
        {
            throw new DataFault(field, $"must lie between {least} and {most}.");
        }
    }

    private static void CheckDefined<T>(T? value, string field) where T : struct, Enum
    {
        if (value is { } given && !Enum.IsDefined(given))
        {
            throw new DataFault(field, $"must be one of {string.Join(", ", Enum.GetNames<T>().Select(n => char.ToLowerInvariant(n[0]) + n[1..]))}.");
        }
    }

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}\z")]
    private static partial Regex DatasetName();
}
