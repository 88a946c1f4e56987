namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>Block-sparse attention by loops in float64, written from its definition.</summary>
internal sealed record SparseAttentionReference(int Heads, int KvHeads, int Queries, int Keys, int Dim, int QueryBlock, int KeyBlock, bool Causal, int QueryLength, int KeyLength)
{
    /// <summary>Whether a key block is in the list of a query block of a head.</summary>
    internal required Func<int, int, int, bool> Listed { get; init; }

    internal bool Sees(int head, int i, int j) =>
        i < QueryLength && j < KeyLength && (!Causal || j <= i + KeyLength - QueryLength) && Listed(head, i / QueryBlock, j / KeyBlock);

    /// <summary>One sequence: q [H, T, D], k and v [Hkv, S, D] → [H, T, D] and the logarithms of the softmax sums [H, T].</summary>
    internal (double[] Output, double[] LogSum) Forward(double[] q, double[] k, double[] v)
    {
        var (output, logs) = (new double[Heads * Queries * Dim], new double[Heads * Queries]);
        for (var head = 0; head < Heads; head++)
        {
            var kv = head / (Heads / KvHeads);
            for (var i = 0; i < Queries; i++)
            {
                var scores = new double[Keys];
                var greatest = double.NegativeInfinity;
                for (var j = 0; j < Keys; j++)
                {
                    scores[j] = Sees(head, i, j) ? Dot(q, (head * Queries + i) * Dim, k, (kv * Keys + j) * Dim) / Math.Sqrt(Dim) : double.NegativeInfinity;
                    greatest = Math.Max(greatest, scores[j]);
                }
                var sum = double.IsNegativeInfinity(greatest) ? 0 : scores.Sum(s => Math.Exp(s - greatest));
                logs[head * Queries + i] = sum > 0 ? greatest + Math.Log(sum) : double.NegativeInfinity;
                for (var j = 0; j < Keys && sum > 0; j++)
                {
                    var weight = Math.Exp(scores[j] - greatest) / sum;
                    for (var d = 0; d < Dim && weight > 0; d++)
                    {
                        output[(head * Queries + i) * Dim + d] += weight * v[(kv * Keys + j) * Dim + d];
                    }
                }
            }
        }
        return (output, logs);
    }

    private double Dot(double[] a, int at, double[] b, int bt)
    {
        var sum = 0.0;
        for (var d = 0; d < Dim; d++)
        {
            sum += a[at + d] * b[bt + d];
        }
        return sum;
    }
}
