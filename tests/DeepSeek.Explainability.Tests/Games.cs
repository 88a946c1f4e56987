using System.Numerics;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Tests;

/// <summary>A game given as a function of its members.</summary>
internal sealed class FunctionGame(int players, Func<bool[], double> value) : ICoalitionGame
{
    public int Players => players;

    public void Evaluate(CoalitionBatch coalitions, Span<double> values)
    {
        for (var c = 0; c < coalitions.Count; c++)
        {
            values[c] = value([.. Enumerable.Range(0, players).Select(player => coalitions.Contains(c, player))]);
        }
    }
}

/// <summary>Games given as the table of v(S), indexed by the members' bit set.</summary>
internal static class TableGame
{
    public static FunctionGame Of(double[] table) => new(
        BitOperations.Log2((uint)table.Length),
        members => table[members.Select((member, i) => member ? 1 << i : 0).Sum()]);
}
