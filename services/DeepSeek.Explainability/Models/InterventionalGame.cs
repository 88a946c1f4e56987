using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Models;

/// <summary>
/// The interventional game of one row x against a background B: v(S) = mean over b ∈ B of f(x_S, b_{N∖S})
/// (Janzing et al. 2020, eq. 3): features outside S are drawn from the background, independently of x.
/// </summary>
public sealed class InterventionalGame : ICoalitionGame
{
    private const int TargetBatchRows = 8192;
    private readonly ITabularModel _model;
    private readonly FeatureTable _background;
    private readonly Array[] _x;
    private readonly int _coalitionsPerRun;

    /// <summary>The game of row <paramref name="row"/> of <paramref name="rows"/>.</summary>
    /// <exception cref="ArgumentException">The background is empty.</exception>
    public InterventionalGame(ITabularModel model, FeatureTable background, FeatureTable rows, int row)
    {
        if (background.Rows == 0)
        {
            throw new ArgumentException("The background holds no rows.", nameof(background));
        }

        _model = model;
        _background = background;
        _x = [.. rows.Take([row]).Columns];
        _coalitionsPerRun = Math.Max(1, TargetBatchRows / background.Rows);
    }

    /// <inheritdoc/>
    public int Players => _x.Length;

    /// <inheritdoc/>
    public void Evaluate(CoalitionBatch coalitions, Span<double> values)
    {
        for (var start = 0; start < coalitions.Count; start += _coalitionsPerRun)
        {
            var count = Math.Min(_coalitionsPerRun, coalitions.Count - start);
            var columns = new Array[Players];
            for (var player = 0; player < Players; player++)
            {
                columns[player] = _x[player] is double[] x
                    ? Compose(coalitions, start, count, player, x[0], (double[])_background.Columns[player])
                    : Compose(coalitions, start, count, player, ((string[])_x[player])[0], (string[])_background.Columns[player]);
            }

            var outputs = new double[count * _background.Rows];
            _model.Predict(new FeatureTable(_background.Names, columns), outputs);
            for (var coalition = 0; coalition < count; coalition++)
            {
                double sum = 0;
                foreach (var output in outputs.AsSpan(coalition * _background.Rows, _background.Rows))
                {
                    sum += output;
                }

                values[start + coalition] = sum / _background.Rows;
            }
        }
    }

    private static T[] Compose<T>(CoalitionBatch coalitions, int start, int count, int player, T x, T[] background)
    {
        var column = new T[count * background.Length];
        for (var coalition = 0; coalition < count; coalition++)
        {
            var target = column.AsSpan(coalition * background.Length, background.Length);
            if (coalitions.Contains(start + coalition, player))
            {
                target.Fill(x);
            }
            else
            {
                background.CopyTo(target);
            }
        }

        return column;
    }
}
