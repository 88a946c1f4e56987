namespace DeepSeek.Explainability.Shapley;

/// <summary>A cooperative game: a value for every coalition of its players.</summary>
public interface ICoalitionGame
{
    /// <summary>Number of players, n.</summary>
    int Players { get; }

    /// <summary>Writes v(S) of each coalition of the batch to <paramref name="values"/> [batch.Count].</summary>
    void Evaluate(CoalitionBatch coalitions, Span<double> values);
}
