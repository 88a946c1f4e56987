using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Generation;

/// <summary>A text that a model goes on with, token by token.</summary>
/// <param name="column">Where the model takes it, and how much of it.</param>
/// <param name="tokens">How it begins; at most as many as the model sees.</param>
internal abstract class GrowingText(RowColumn column, IEnumerable<long> tokens) : IDisposable
{
    /// <summary>What the model sees of it.</summary>
    protected List<long> Tokens { get; } = [.. tokens];

    protected RowColumn Column { get; } = column;

    /// <summary>Goes on from keys and values where the model can.</summary>
    /// <param name="most">Tokens that will be added at most.</param>
    public static GrowingText Of(LoadedVersion version, RowColumn column, int probabilities, long[] tokens, int most, CacheBudget budget) => version.Cache is { } layout
        // While a token is computed there are the keys and values before it and those with it.
        ? new CachedText(version, column, probabilities, tokens, budget.Take(2 * layout.BytesPerToken * Math.Min(column.Context, tokens.Length + (long)most)))
        : new WholeText(version, column, probabilities, tokens);

    /// <summary>Probabilities of the next token, FLOAT [1, K].</summary>
    public abstract Task<Tensor> NextAsync(CancellationToken cancellationToken);

    public abstract void Add(long token);

    public virtual void Dispose()
    {
    }

    protected InferenceWork Work(IEnumerable<long> tokens, int probabilities, KeyValueCache? cache) =>
        new([TextData.ToTensor(Column.Input.Name, [[.. tokens]])], 1, [probabilities], cache);
}

/// <summary>Each token costs a pass over all that the model sees: for models exported without keys and values.</summary>
internal sealed class WholeText(LoadedVersion version, RowColumn column, int probabilities, long[] tokens) : GrowingText(column, tokens)
{
    public override async Task<Tensor> NextAsync(CancellationToken cancellationToken) =>
        (await version.InferAsync(Work(Tokens, probabilities, null), cancellationToken))[0];

    public override void Add(long token)
    {
        Tokens.Add(token);
        if (Tokens.Count > Column.Context)
        {
            Tokens.RemoveAt(0);
        }
    }
}

/// <summary>
/// One pass over the beginning, then one over each new token. Positions are counted from the first token that the model sees, so a full
/// context cannot move on by one: its later half is then read anew, and half a context may follow.
/// </summary>
internal sealed class CachedText(LoadedVersion version, RowColumn column, int probabilities, long[] tokens, IDisposable share) : GrowingText(column, tokens)
{
    private readonly KeyValueCache _cache = new();
    private int _known;

    public override async Task<Tensor> NextAsync(CancellationToken cancellationToken)
    {
        var outputs = await version.InferAsync(Work(Tokens.Skip(_known), probabilities, _cache), cancellationToken);
        _known = Tokens.Count;
        return outputs[0];
    }

    public override void Add(long token)
    {
        Tokens.Add(token);
        if (Tokens.Count > Column.Context)
        {
            Tokens.RemoveRange(0, Tokens.Count - Math.Max(1, Column.Context / 2));
            _cache.Dispose();
            _known = 0;
        }
    }

    public override void Dispose()
    {
        _cache.Dispose();
        share.Dispose();
    }
}
