using DeepSeek.Engine.Nn;

namespace DeepSeek.Engine.Optim;

/// <summary>Rules for which parameters decay, for the constructors of optimisers; the others are a group without decay.</summary>
public static class DecayRule
{
    /// <summary>Every parameter.</summary>
    public static bool All(NamedTensor parameter) => true;

    /// <summary>Parameters of rank 2 and more: matrices, kernels and tables, but no biases and no norms.</summary>
    public static bool Matrices(NamedTensor parameter) => parameter.Tensor.Tensor.Rank >= 2;

    /// <summary>The same without the tables of a net's <see cref="Embedding"/>s (and heads that share them), whose rows are rarely used and would fade.</summary>
    public static Func<NamedTensor, bool> MatricesBesidesTables(Module net)
    {
        var tables = net.Modules().Select(m => m.Module).OfType<Embedding>().Select(e => e.Weight).ToHashSet();
        return parameter => Matrices(parameter) && !tables.Contains(parameter.Tensor);
    }
}
