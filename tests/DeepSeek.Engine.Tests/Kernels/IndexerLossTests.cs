using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>The indexer's loss against plain operators in float64 and their autograd, and against central differences.</summary>
public sealed class IndexerLossTests
{
    private sealed record Case(int Heads, int KvHeads, int Dim, int IndexHeads, int IndexDim, int Queries, int Keys, int Most);

    public static TheoryData<int, int, int, int, int, int, int, int> Cases => new()
    {
        { 4, 2, 16, 2, 8, 12, 12, 0 }, // dense warm-up
        { 3, 1, 24, 1, 17, 9, 40, 0 },
        { 8, 2, 64, 5, 32, 6, 150, 0 },
        { 4, 2, 16, 2, 8, 12, 20, 5 }, // sparse stage
        { 7, 7, 20, 3, 24, 5, 60, 33 },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Loss_OnEachInstructionSet_EqualsFloat64AutogradOfItsDefinition(int heads, int kvHeads, int dim, int indexHeads, int indexDim, int queries, int keys, int most)
    {
        var c = new Case(heads, kvHeads, dim, indexHeads, indexDim, queries, keys, most);
        var expected = Run(c, Dtype.Float64, (q, k, iq, ik, w, s, seen) => Definition(q, k, iq, ik, w, seen));
        // The operator's own float64 path, which CUDA uses in float32 too.
        Compare(expected, Run(c, Dtype.Float64, (q, k, iq, ik, w, s, _) => LightningIndexer.Loss(q, k, iq, ik, w, s)), 1e-12, "float64");
        // float32: logits of up to 30 in size from sums of 64 products; their errors are those of the softmax.
        KernelData.OnEachInstructionSet(set => Compare(expected, Run(c, Dtype.Float32, (q, k, iq, ik, w, s, _) => LightningIndexer.Loss(q, k, iq, ik, w, s)), 3e-5, $"{set}"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void Loss_InFloat32_HasTheGradientsOfCentralDifferences(int most)
    {
        var c = new Case(2, 1, 4, 2, 3, 5, 6, most);
        using var scope = TensorScope.Open();
        var (inputs, selection, seen) = Make(c);
        double Value(int which, int element, double by)
        {
            var moved = inputs.Select((x, i) =>
            {
                var values = KernelData.Doubles(x);
                if (i == which)
                {
                    values[element] += by;
                }
                return Tensor.From<double>(values, x.Shape());
            }).ToArray();
            return Definition(moved[0], moved[1], moved[2], moved[3], moved[4], seen).Item();
        }
        var handles = inputs.Select(x => x.To(Dtype.Float32).Keep().WithGrad()).ToArray();
        LightningIndexer.Loss(handles[0].Tensor, handles[1].Tensor, handles[2].Tensor, handles[3].Tensor, handles[4].Tensor, selection).Backward();
        Assert.True(handles[0].Tensor.Grad().IsNone && handles[1].Tensor.Grad().IsNone, "the attention's own q and k are constants to the indexer");
        for (var i = 2; i < 5; i++)
        {
            var found = KernelData.Doubles(handles[i].Tensor.Grad());
            var wanted = Enumerable.Range(0, found.Length).Select(e => (Value(i, e, 1e-6) - Value(i, e, -1e-6)) / 2e-6).ToArray();
            KernelData.Near(wanted, found, 2e-5, 2e-5, $"gradient {i} ");
        }
        Array.ForEach(handles, h => h.Dispose());
    }

    [Fact]
    public void Loss_WhenTheIndexerSaysWhatTheAttentionDoes_IsZero()
    {
        using var scope = TensorScope.Open();
        // One head; logits q·k + 100 > 0 by a constant dimension, so that ReLU lets all through; softmax takes the 100 away.
        const int rows = 10, dim = 4;
        var x = KernelData.Normal(1, rows * dim);
        float[] With(float last, float factor) => [.. x.Chunk(dim).SelectMany(row => row.Select(v => v * factor).Append(last))];
        var attention = Tensor.From<float>(x, 1, 1, rows, dim);
        var loss = LightningIndexer.Loss(attention, attention, Tensor.From<float>(With(100, 1 / MathF.Sqrt(dim)), 1, rows, 1, dim + 1), Tensor.From<float>(With(1, 1), 1, rows, dim + 1),
            Tensor.From<float>([.. Enumerable.Repeat(1f, rows)], 1, rows, 1));
        // Logits near 100 carry errors of 1e-5; the divergence grows with their square.
        Assert.Equal(0, loss.Item(), 1e-6);
    }

    [Fact]
    public void Loss_TwentyTimes_GivesTheSameBits()
    {
        var c = new Case(4, 2, 32, 2, 16, 60, 90, 0);
        var first = Run(c, Dtype.Float32, (q, k, iq, ik, w, s, _) => LightningIndexer.Loss(q, k, iq, ik, w, s));
        Assert.All(Enumerable.Range(0, 19), _ => Assert.Equal(first, Run(c, Dtype.Float32, (q, k, iq, ik, w, s, _) => LightningIndexer.Loss(q, k, iq, ik, w, s))));
    }

    // KL(p ‖ softmax(I)) from plain operators; `seen` is 0 or a great negative number, [N, T, S].
    private static Tensor Definition(Tensor q, Tensor k, Tensor indexQ, Tensor indexK, Tensor weights, Tensor seen)
    {
        var (n, heads, queries, keys) = (q.Size(0), q.Size(1), q.Size(2), k.Size(2));
        var kk = k.Unsqueeze(2).Expand(n, k.Size(1), heads / k.Size(1), keys, k.Size(3)).Reshape(n, heads, keys, k.Size(3));
        var scores = (q.MatMul(kk.Transpose(2, 3)) / Math.Sqrt(q.Size(3)) + seen.Unsqueeze(1)).Softmax(-1); // [N, H, T, S]
        var p = scores.Mean(1).Detach(); // the heads' sum, normalised
        var dots = indexQ.Reshape(n, queries * indexQ.Size(2), indexQ.Size(3)).MatMul(indexK.Transpose(1, 2)).Reshape(n, queries, indexQ.Size(2), keys).Relu();
        var logs = ((dots * weights.Unsqueeze(3)).Sum(2) + seen).LogSoftmax(-1);
        return (p * ((p + 1e-300).Log() - logs)).Sum() / (n * queries);
    }

    private static double[][] Run(Case c, Dtype dtype, Func<Tensor, Tensor, Tensor, Tensor, Tensor, TokenSelection?, Tensor, Tensor> loss)
    {
        using var scope = TensorScope.Open();
        var (inputs, selection, seen) = Make(c);
        var t = inputs.Select(x => x.To(dtype).Keep().WithGrad()).ToArray();
        var value = loss(t[0].Tensor, t[1].Tensor, t[2].Tensor, t[3].Tensor, t[4].Tensor, selection, seen);
        (value * 3).Backward();
        double[][] result = [[value.Item()], .. t.Skip(2).Select(x => KernelData.Doubles(x.Tensor.Grad()))];
        Array.ForEach(t, x => x.Dispose());
        return result;
    }

    // float64 inputs rounded to float32; lists of Most keys, or none; 0 for a pair that takes part, −1e9 for another.
    private static (Tensor[] Inputs, TokenSelection? Selection, Tensor Seen) Make(Case c)
    {
        long[][] shapes = [[2, c.Heads, c.Queries, c.Dim], [2, c.KvHeads, c.Keys, c.Dim], [2, c.Queries, c.IndexHeads, c.IndexDim], [2, c.Keys, c.IndexDim], [2, c.Queries, c.IndexHeads]];
        Tensor[] inputs = [.. shapes.Select((s, i) => Tensor.From<float>(KernelData.Normal(i + 1, s.Aggregate((a, b) => a * b)), s).To(Dtype.Float64))];
        var seen = new double[2 * c.Queries * c.Keys];
        if (c.Most == 0)
        {
            for (var i = 0; i < seen.Length; i++)
            {
                seen[i] = i % c.Keys <= i / c.Keys % c.Queries + c.Keys - c.Queries ? 0 : -1e9;
            }
            return (inputs, null, Tensor.From<double>(seen, 2, c.Queries, c.Keys));
        }
        var (lists, index, count) = GatherAttentionTests.Lists(2, c.Queries, c.Keys, c.Most);
        Array.Fill(seen, -1e9);
        for (var i = 0; i < lists.Length; i++)
        {
            if (lists[i].Length == 0)
            {
                // Counts as 0 in the operator; the definition's uniform rows would not.
                (lists[i], count[i], index[i * c.Most]) = ([0], 1, 0);
            }
            foreach (var j in lists[i])
            {
                seen[i * c.Keys + j] = 0;
            }
        }
        return (inputs, new(Tensor.From<int>(index, 2, c.Queries, c.Most), Tensor.From<int>(count, 2, c.Queries)), Tensor.From<double>(seen, 2, c.Queries, c.Keys));
    }

    private static void Compare(double[][] expected, double[][] found, double error, string what)
    {
        for (var i = 0; i < expected.Length; i++)
        {
            KernelData.Near(expected[i], found[i], error, error, $"{what} {(i == 0 ? "loss" : "gradient")} {i} ");
        }
    }
}
