namespace DeepSeek.Explainability.Shapley;

/// <summary>
/// Shapley values by antithetic permutation sampling (Castro et al. 2009; Mitchell et al. 2022, "Sampling permutations for
/// Shapley value estimation", §4.1): each sampled order is walked forwards and backwards, the pair's mean contribution is one
/// observation, and the standard error is that of the observations' mean. Every walk starts at v(∅) and ends at v(N), so the
/// values add up to v(N) − v(∅) whatever the sample; games of order two are exact after one pair.
/// </summary>
public static class PermutationShapley
{
    /// <summary>Pairs before the stopping rule is first looked at.</summary>
    private const int MinPairs = 8;

    /// <summary>Samples pairs of permutations until the largest standard error is at most <paramref name="targetError"/> or <paramref name="maxPairs"/> are spent.</summary>
    /// <param name="game">The game, any number of players.</param>
    /// <param name="seed">Seed of the sampled orders: equal seeds give equal values.</param>
    /// <param name="maxPairs">Most antithetic pairs, each costing 2(n−1) values.</param>
    /// <param name="targetError">Absolute standard error to reach, in the unit of v.</param>
    /// <param name="cancellationToken">Ends the sampling early with <see cref="OperationCanceledException"/>.</param>
    public static Attribution Explain(ICoalitionGame game, int seed, int maxPairs, double targetError, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxPairs, 2);
        var n = game.Players;
        var (empty, grand) = Ends(game);
        if (n <= 1)
        {
            return new Attribution(empty, grand, n == 0 ? [] : [grand - empty], new double[n], 2);
        }

        var random = new Random(seed);
        var order = Enumerable.Range(0, n).ToArray();
        var batch = new CoalitionBatch(n, 2 * (n - 1));
        var members = new bool[n];
        var values = new double[2 * (n - 1)];
        var observation = new double[n];
        var mean = new double[n];
        var squares = new double[n]; // Welford's sum of squared deviations
        long evaluations = 2;
        var pairs = 0;
        while (pairs < maxPairs)
        {
            cancellationToken.ThrowIfCancellationRequested();
            random.Shuffle(order);
            batch.Clear();
            AddWalk(batch, members, order, reversed: false);
            AddWalk(batch, members, order, reversed: true);
            game.Evaluate(batch, values);
            evaluations += values.Length;

            Array.Clear(observation);
            Collect(observation, values.AsSpan(0, n - 1), order, reversed: false, empty, grand);
            Collect(observation, values.AsSpan(n - 1), order, reversed: true, empty, grand);
            pairs++;
            for (var i = 0; i < n; i++)
            {
                var delta = observation[i] / 2 - mean[i];
                mean[i] += delta / pairs;
                squares[i] += delta * (observation[i] / 2 - mean[i]);
            }

            if (pairs >= MinPairs && StandardError(squares.Max(), pairs) <= targetError)
            {
                break;
            }
        }

        return new Attribution(empty, grand, mean, [.. squares.Select(sum => StandardError(sum, pairs))], evaluations);
    }

    private static (double Empty, double Grand) Ends(ICoalitionGame game)
    {
        var ends = new CoalitionBatch(Math.Max(game.Players, 1), 2);
        var members = new bool[Math.Max(game.Players, 1)];
        ends.Add(members);
        Array.Fill(members, game.Players > 0);
        ends.Add(members);
        var values = new double[2];
        game.Evaluate(ends, values);
        return (values[0], values[1]);
    }

    // The n−1 proper, non-empty prefixes of the order.
    private static void AddWalk(CoalitionBatch batch, bool[] members, int[] order, bool reversed)
    {
        Array.Clear(members);
        for (var step = 0; step < order.Length - 1; step++)
        {
            members[Player(order, step, reversed)] = true;
            batch.Add(members);
        }
    }

    private static void Collect(double[] contribution, ReadOnlySpan<double> walk, int[] order, bool reversed, double empty, double grand)
    {
        var previous = empty;
        for (var step = 0; step < order.Length; step++)
        {
            var value = step < walk.Length ? walk[step] : grand;
            contribution[Player(order, step, reversed)] += value - previous;
            previous = value;
        }
    }

    private static int Player(int[] order, int step, bool reversed) => order[reversed ? order.Length - 1 - step : step];

    private static double StandardError(double squares, int pairs) => pairs < 2 ? double.PositiveInfinity : Math.Sqrt(squares / (pairs - 1) / pairs);
}
