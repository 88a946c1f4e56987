namespace DeepSeek.Explainability.Shapley;

/// <summary>
/// Shapley values of one game: <see cref="Base"/> = v(∅), <see cref="Grand"/> = v(N), Σ <see cref="Phi"/> = Grand − Base.
/// <see cref="StandardErrors"/> is null for exact values, otherwise the standard error of each φ. <see cref="Evaluations"/> counts v(S).
/// </summary>
public sealed record Attribution(double Base, double Grand, double[] Phi, double[]? StandardErrors, long Evaluations);
