using System.Numerics;

namespace DeepSeek.Explainability.Shapley;

/// <summary>
/// Shapley values by enumeration of all 2ⁿ coalitions:
/// φᵢ = Σ_{S ⊆ N∖{i}} |S|! (n−|S|−1)! / n! · (v(S∪{i}) − v(S))  (Shapley 1953, eq. 12).
/// </summary>
public static class ExactShapley
{
    /// <summary>Most players for which enumeration is offered: 2¹² = 4 096 coalitions.</summary>
    public const int MaxPlayers = 12;

    private const int ChunkSize = 512;

    /// <summary>Exact Shapley values of a game of at most <see cref="MaxPlayers"/> players.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The game has more players.</exception>
    public static Attribution Explain(ICoalitionGame game, CancellationToken cancellationToken = default)
    {
        var n = game.Players;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(n, MaxPlayers, nameof(game));
        var v = new double[1 << n]; // indexed by the members' bit set
        var batch = new CoalitionBatch(Math.Max(n, 1), ChunkSize);
        for (var start = 0; start < v.Length; start += ChunkSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var end = Math.Min(start + ChunkSize, v.Length);
            batch.Clear();
            for (var members = start; members < end; members++)
            {
                batch.Add((ulong)members);
            }

            game.Evaluate(batch, v.AsSpan(start, end - start));
        }

        var weights = CoalitionWeights(n);
        var phi = new double[n];
        for (var members = 0; members < v.Length; members++)
        {
            var weight = weights[BitOperations.PopCount((uint)members)];
            for (var i = 0; i < n; i++)
            {
                if ((members >> i & 1) == 0)
                {
                    phi[i] += weight * (v[members | 1 << i] - v[members]);
                }
            }
        }

        return new Attribution(v[0], v[^1], phi, StandardErrors: null, v.Length);
    }

    // w(s) = s! (n−s−1)! / n!, by recurrence: w(0) = 1/n, w(s) = w(s−1) · s / (n−s).
    private static double[] CoalitionWeights(int n)
    {
        var weights = new double[n + 1];
        if (n == 0)
        {
            return weights;
        }

        weights[0] = 1.0 / n;
        for (var s = 1; s < n; s++)
        {
            weights[s] = weights[s - 1] * s / (n - s);
        }

        return weights; // weights[n] stays 0: the grand coalition has nobody to add
    }
}
