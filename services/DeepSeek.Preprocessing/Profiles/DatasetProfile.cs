namespace DeepSeek.Preprocessing.Profiles;

/// <summary>What is told about a prepared dataset; computed of masked values only.</summary>
internal sealed record DatasetProfile
{
    public required long Rows { get; init; }

    /// <summary>Rows left out because their target is missing.</summary>
    public required long RowsWithoutTarget { get; init; }
    public required IReadOnlyDictionary<string, long> SplitRows { get; init; }
    public required IReadOnlyList<ColumnProfile> Columns { get; init; }
    public required TargetProfile Target { get; init; }
    public LeakageReport? Leakage { get; init; }
    public ImageProfile? Images { get; init; }
    public TextProfile? Text { get; init; }
    public required IReadOnlyList<string> Warnings { get; init; }
}

internal sealed record ColumnProfile
{
    public required string Name { get; init; }
    public required string Type { get; init; }
    public required string Role { get; init; }

    /// <summary>Why it is ignored or has its type.</summary>
    public string? Reason { get; init; }
    public MaskedProfile? Masked { get; init; }
    public required long Count { get; init; }
    public required long Missing { get; init; }
    public required long Distinct { get; init; }

    /// <summary>The number of distinct values is estimated, to about 1.6 %.</summary>
    public bool DistinctEstimated { get; init; }
    public double? Mean { get; init; }
    public double? Std { get; init; }
    public double? Min { get; init; }
    public double? Max { get; init; }

    /// <summary>By share, "0.01" to "0.99".</summary>
    public IReadOnlyDictionary<string, double>? Quantiles { get; init; }
    public Histogram? Histogram { get; init; }
    public IReadOnlyList<ValueCount>? Top { get; init; }
    public AssociationValue? Association { get; init; }
}

internal sealed record MaskedProfile(string Method, string Why);

/// <summary>Counts of equal bins between the first and the last edge.</summary>
internal sealed record Histogram(double From, double To, IReadOnlyList<long> Counts);

internal sealed record ValueCount(string Value, long Count);

/// <summary>How much of the target this column tells alone, 0 to 1.</summary>
internal sealed record AssociationValue(string Measure, double Value);

internal sealed record TargetProfile
{
    public required string Name { get; init; }

    /// <summary>Rows of each class in each part; empty for regressions.</summary>
    public IReadOnlyList<ClassProfile> Classes { get; init; } = [];
    public double? Mean { get; init; }
    public double? Std { get; init; }
    public double? Min { get; init; }
    public double? Max { get; init; }
}

internal sealed record ClassProfile(string Name, long Train, long Validation, long Test);

internal sealed record ImageProfile(int Channels, int Height, int Width, IReadOnlyList<float> Mean, IReadOnlyList<float> Std);

/// <summary>Texts as tokens.</summary>
internal sealed record TextProfile
{
    /// <summary>Tokens of a row.</summary>
    public required int Context { get; init; }

    /// <summary>By part.</summary>
    public required IReadOnlyDictionary<string, long> Documents { get; init; }

    /// <summary>Bytes and separators by part, before they were cut into rows.</summary>
    public required IReadOnlyDictionary<string, long> Tokens { get; init; }

    /// <summary>Tokens at the ends of the parts that fill no row.</summary>
    public required long LeftOver { get; init; }

    /// <summary>Nats a token of the train part: what a model that only knows how frequent each token is would lose.</summary>
    public required double UnigramEntropy { get; init; }

    /// <summary>Documents in which personal data was replaced.</summary>
    public required long Cleaned { get; init; }
}

/// <summary>What may let a model look better on the test part than it is.</summary>
internal sealed record LeakageReport
{
    /// <summary>Rows equal to an earlier row.</summary>
    public required long DuplicateRows { get; init; }

    /// <summary>Rows equal to a row of another part.</summary>
    public required long DuplicatesAcrossParts { get; init; }

    /// <summary>The counts are scaled up from a sample of the rows.</summary>
    public bool Estimated { get; init; }

    /// <summary>Groups in more than one part: 0, as a grouped split is made so; null without groups.</summary>
    public long? GroupsAcrossParts { get; init; }

    /// <summary>Whether all of train lies before validation before test; null without a time.</summary>
    public bool? TimeOrdered { get; init; }

    /// <summary>Columns that tell the target all by themselves.</summary>
    public required IReadOnlyList<string> TargetCopies { get; init; }
}
