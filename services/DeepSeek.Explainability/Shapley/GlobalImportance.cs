namespace DeepSeek.Explainability.Shapley;

/// <summary>One feature's weight over many explained rows: mean |φ|, mean φ and the standard error of mean |φ|.</summary>
public sealed record GlobalImportance(string Feature, double MeanAbsolute, double Mean, double StandardError)
{
    /// <summary>Importance of each feature over the rows, largest mean |φ| first.</summary>
    public static IReadOnlyList<GlobalImportance> Of(IReadOnlyList<string> features, IReadOnlyList<double[]> phi) =>
        [.. features.Select((feature, i) => Of(feature, [.. phi.Select(row => row[i])])).OrderByDescending(importance => importance.MeanAbsolute)];

    private static GlobalImportance Of(string feature, double[] phi)
    {
        if (phi.Length == 0)
        {
            return new GlobalImportance(feature, 0, 0, 0);
        }

        var absolute = phi.Average(Math.Abs);
        var variance = phi.Length < 2 ? 0 : phi.Sum(value => (Math.Abs(value) - absolute) * (Math.Abs(value) - absolute)) / (phi.Length - 1);
        return new GlobalImportance(feature, absolute, phi.Average(), Math.Sqrt(variance / phi.Length));
    }
}
