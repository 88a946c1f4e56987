using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>The net as it is measured, kept and exported: the trained one, or where that has bfloat16 weights a float32 net of its masters.</summary>
internal sealed class KeptNet : IDisposable
{
    private readonly Module _trained;
    private readonly Optimizer _optimizer;

    /// <param name="copy">A net of the same sizes, or null where the trained one is kept itself.</param>
    internal KeptNet(Module trained, Optimizer optimizer, Module? copy)
    {
        (_trained, _optimizer, Net) = (trained, optimizer, copy ?? trained);
        copy?.To(trained.Device);
    }

    internal Module Net { get; }

    internal bool IsCopy => Net != _trained;

    /// <summary>Takes the weights over as they are now.</summary>
    internal void Follow()
    {
        if (!IsCopy)
        {
            return;
        }
        using var recording = NoGrad.Enter();
        var masters = _optimizer.State.Where(s => s.Name.StartsWith("master.", StringComparison.Ordinal)).ToDictionary(s => s.Name["master.".Length..], s => s.Tensor);
        foreach (var (trained, kept) in _trained.State().Zip(Net.State()))
        {
            kept.Tensor.Tensor.CopyInPlace(masters.GetValueOrDefault(trained.Name, trained.Tensor).Tensor);
        }
    }

    public void Dispose()
    {
        if (IsCopy)
        {
            Net.Dispose();
        }
    }
}
