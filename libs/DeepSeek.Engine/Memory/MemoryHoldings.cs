using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>What tensors are for.</summary>
public enum HoldingKind
{
    /// <summary>Weights.</summary>
    Parameters = 1,
    /// <summary>Their gradients.</summary>
    Gradients = 2,
    /// <summary>Moments, momentum and float32 masters.</summary>
    OptimizerState = 3,
    /// <summary>Running statistics and tables.</summary>
    Buffers = 4,
    /// <summary>Values kept between the forward and the backward pass.</summary>
    Activations = 5,
}

/// <summary>Bytes that a part of a net holds.</summary>
public sealed record MemoryHolding(HoldingKind Kind, string Part, long Bytes);

/// <summary>Tells which parts of a net hold memory.</summary>
public static class MemoryHoldings
{
    /// <summary>A net's parts: its segments, and the innermost modules outside them.</summary>
    public static IReadOnlyList<(string Name, Module Module)> Parts(Module net)
    {
        var segments = CheckpointPlanner.Segments(net);
        var others = net.Modules().Where(m => !m.Module.Modules().Any() && !segments.Any(s => m.Name == s.Name || Inside(m.Name, s.Name)));
        return [.. segments, .. others];
    }

    /// <summary>What stays from step to step, by part and kind, the greatest first; gradients where there are any now.</summary>
    public static IReadOnlyList<MemoryHolding> Lasting(Module net, Optimizer? optimizer = null)
    {
        var parts = Parts(net).Select(p => p.Name).ToArray();
        using var scope = TensorScope.Open();
        var found = net.Parameters().Select(p => (Kind: HoldingKind.Parameters, p.Name, Size: Bytes(p.Tensor.Tensor)))
            .Concat(net.Parameters().Select(p => (Kind: HoldingKind.Gradients, p.Name, Size: p.Tensor.Tensor.Grad() is { IsNone: false } gradient ? Bytes(gradient) : 0)))
            .Concat(net.Buffers().Concat(net.Constants()).Select(b => (Kind: HoldingKind.Buffers, b.Name, Size: Bytes(b.Tensor.Tensor))))
            // A state tensor is named by what it is and the parameter it belongs to.
            .Concat((optimizer?.State ?? []).Select(s => (Kind: HoldingKind.OptimizerState, Name: s.Name[(s.Name.IndexOf('.', StringComparison.Ordinal) + 1)..], Size: Bytes(s.Tensor.Tensor))));
        return [.. found.GroupBy(f => (f.Kind, Part: parts.FirstOrDefault(p => Inside(f.Name, p)) ?? f.Name))
            .Select(g => new MemoryHolding(g.Key.Kind, g.Key.Part, g.Sum(f => f.Size)))
            .Where(h => h.Bytes > 0).OrderByDescending(h => h.Bytes).ThenBy(h => h.Part, StringComparer.Ordinal)];
    }

    /// <summary>Sum of one kind.</summary>
    public static long Total(this IEnumerable<MemoryHolding> holdings, HoldingKind kind) => holdings.Where(h => h.Kind == kind).Sum(h => h.Bytes);

    private static long Bytes(Tensor tensor) => tensor.Elements * tensor.Dtype.Size();

    private static bool Inside(string name, string part) => name.StartsWith(part + ".", StringComparison.Ordinal);
}
