namespace DeepSeek.Preprocessing.Datasets;

internal enum DatasetFormat { Csv, Jsonl, Parquet, Idx, ImageZip }

internal enum LearningTask { Classification, Regression, LanguageModeling }

internal enum ColumnType { Numeric, Categorical, Boolean, DateTime, Text, Image }

internal enum ColumnRole { Feature, Target, Ignore, Group, Time, Id }

internal enum MissingPolicy { Median, Mean, Mode, Constant }

internal enum Scaling { Standard, MinMax, None }

internal enum SplitMethod { Stratified, Random, Grouped, Time }

internal enum MaskMethod { Hash, Redact, Generalise, Keep }

/// <summary>The part <c>spec</c> of an upload: how to read the file and what to make of it.</summary>
internal sealed record DatasetSpec
{
    public required string Name { get; init; }

    public required DatasetFormat Format { get; init; }

    /// <summary>The column to predict, or whose texts to learn. Needed for tables; images take theirs from labels.</summary>
    public string? Target { get; init; }

    /// <summary>Inferred from the target when absent: numbers with more than 20 distinct values are a regression. Language modelling is always asked for.</summary>
    public LearningTask? Task { get; init; }

    public Dictionary<string, ColumnSpec> Columns { get; init; } = [];

    public CsvSpec Csv { get; init; } = new();

    public SplitSpec Split { get; init; } = new();

    public PrivacySpec Privacy { get; init; } = new();

    public MissingSpec Missing { get; init; } = new();

    /// <summary>How texts become rows of tokens; for language modelling.</summary>
    public TextSpec? Text { get; init; }

    public Scaling Scaling { get; init; } = Scaling.Standard;

    /// <summary>Most categories of one column that get a feature of their own; the rest share "other". 2 to 1 000.</summary>
    public int MaxCategories { get; init; } = 32;

    /// <summary>Priority of the preparing job, 0 (last) to 100.</summary>
    public int Priority { get; init; } = 50;
}

/// <summary>What the user fixes about one column; null leaves it to inference.</summary>
internal sealed record ColumnSpec
{
    public ColumnType? Type { get; init; }

    public ColumnRole? Role { get; init; }

    public MissingPolicy? Missing { get; init; }

    /// <summary>The value of <see cref="MissingPolicy.Constant"/>: a number, or text for categories. Default 0 or "missing".</summary>
    public string? Fill { get; init; }

    public Scaling? Scaling { get; init; }
}

internal sealed record CsvSpec
{
    /// <summary>One ASCII character, or null to take the one of , ; tab | that the header holds most often.</summary>
    public string? Delimiter { get; init; }

    public string Quote { get; init; } = "\"";

    public bool Header { get; init; } = true;

    /// <summary>utf-8, utf-16, latin1 or windows-1252.</summary>
    public string Encoding { get; init; } = "utf-8";
}

internal sealed record SplitSpec
{
    /// <summary>Default: stratified for classes, random for numbers, time or grouped where a column has that role.</summary>
    public SplitMethod? Method { get; init; }

    /// <summary>The group or time column of <see cref="SplitMethod.Grouped"/> and <see cref="SplitMethod.Time"/>.</summary>
    public string? Column { get; init; }

    public double Train { get; init; } = 0.8;

    public double Validation { get; init; }

    public double Test { get; init; } = 0.2;

    public int Seed { get; init; } = 7;
}

internal sealed record PrivacySpec
{
    /// <summary>Look for personal data by column name and content, and redact what is found.</summary>
    public bool Detect { get; init; } = true;

    /// <summary>The user's decision per column; it wins over detection.</summary>
    public Dictionary<string, MaskMethod> Columns { get; init; } = [];
}

internal sealed record MissingSpec
{
    public MissingPolicy Numeric { get; init; } = MissingPolicy.Median;

    public MissingPolicy Categorical { get; init; } = MissingPolicy.Mode;
}

internal sealed record TextSpec
{
    /// <summary>Tokens (bytes and separators) of a row, which is what a model sees at a time. 8 to 32 768.</summary>
    public int Context { get; init; } = 256;
}
