namespace DeepSeek.Explainability.Models;

/// <summary>A model seen as one real function of its raw inputs.</summary>
public interface ITabularModel
{
    /// <summary>Names of the inputs, in order.</summary>
    IReadOnlyList<string> Inputs { get; }

    /// <summary>Writes f of each row to <paramref name="outputs"/> [rows].</summary>
    void Predict(FeatureTable rows, Span<double> outputs);
}
