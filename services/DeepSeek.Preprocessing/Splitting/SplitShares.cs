namespace DeepSeek.Preprocessing.Splitting;

internal readonly record struct SplitShares(double Train, double Validation, double Test);
