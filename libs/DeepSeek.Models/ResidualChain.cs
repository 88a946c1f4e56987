using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Blocks whose additions to the residual stream are each made together with the norm that follows.</summary>
internal interface IResidualLinks
{
    /// <summary>How many there are.</summary>
    int Count { get; }

    /// <summary>Block i, from the stream and its normed form to the stream behind it and what the next block's norm, or the last one, makes of it.</summary>
    (Tensor Normed, Tensor Sum) Pass(int index, Tensor normed, Tensor sum);
}

/// <summary>Walks such a chain. Behind each block only its two results stay in the scope: what else the backward pass wants is kept by the graph, so that nothing else takes memory.</summary>
internal static class ResidualChain
{
    /// <summary>The last normed stream. The links are a structure, so that a pass makes no managed object.</summary>
    internal static Tensor Walk<TLinks>(TLinks links, Tensor normed, Tensor sum) where TLinks : struct, IResidualLinks
    {
        using var scope = TensorScope.Open();
        for (var i = 0; i < links.Count; i++)
        {
            var (y, x) = One(links, i, normed, sum);
            if (i > 0)
            {
                scope.Free(normed);
                scope.Free(sum);
            }
            (normed, sum) = (y, x);
        }
        return scope.Return(normed);
    }

    private static (Tensor Normed, Tensor Sum) One<TLinks>(TLinks links, int index, Tensor normed, Tensor sum) where TLinks : struct, IResidualLinks
    {
        using var scope = TensorScope.Open();
        var (y, x) = links.Pass(index, normed, sum);
        return (scope.Return(y), scope.Return(x));
    }
}
