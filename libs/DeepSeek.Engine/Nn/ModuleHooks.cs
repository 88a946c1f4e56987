using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Where a value passes a module.</summary>
public enum HookPlace
{
    /// <summary>Its input, before the forward pass.</summary>
    Input = 1,
    /// <summary>Its output, after the forward pass.</summary>
    Output = 2,
    /// <summary>The gradient of its output, before the module's backward pass.</summary>
    OutputGradient = 3,
    /// <summary>The gradient that this module (alone) gives its input, after its backward pass.</summary>
    InputGradient = 4,
}

/// <summary>Sees a value that passes a module and returns what takes its place, of the same sizes, or <c>default</c> to leave it.</summary>
public delegate Tensor ModuleHook(Module module, Tensor value);

/// <summary>The hooks of one module.</summary>
internal sealed class ModuleHooks
{
    private readonly List<(HookPlace Place, ModuleHook Hook)> _hooks = [];

    internal bool IsEmpty => _hooks.Count == 0;

    internal IDisposable Add(HookPlace place, ModuleHook hook)
    {
        var entry = (place, hook);
        _hooks.Add(entry);
        return new Registration(() => _hooks.Remove(entry));
    }

    internal Tensor Run(Module module, Tensor x, Func<Tensor, Tensor> compute)
    {
        x = Through(HookPlace.Input, module, x);
        if (Has(HookPlace.InputGradient) && x.RequiresGrad)
        {
            // A tensor of its own, so that only this module's share of the input's gradient is seen.
            x = x.Reshape(x.Shape());
            OnGradient(HookPlace.InputGradient, module, x);
        }
        var y = Through(HookPlace.Output, module, compute(x));
        if (Has(HookPlace.OutputGradient) && y.RequiresGrad)
        {
            OnGradient(HookPlace.OutputGradient, module, y);
        }
        return y;
    }

    private bool Has(HookPlace place) => _hooks.Exists(h => h.Place == place);

    private Tensor Through(HookPlace place, Module module, Tensor value)
    {
        foreach (var (at, hook) in _hooks)
        {
            if (at == place && hook(module, value) is { IsNone: false } replacement)
            {
                value = replacement;
            }
        }
        return value;
    }

    // The graph keeps the native hook as long as it needs it.
    private void OnGradient(HookPlace place, Module module, Tensor value)
    {
        foreach (var (at, hook) in _hooks)
        {
            if (at == place)
            {
                value.KeepHook(gradient => hook(module, gradient));
            }
        }
    }

    private sealed class Registration(Action remove) : IDisposable
    {
        public void Dispose() => remove();
    }
}
