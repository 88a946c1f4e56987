using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>Where and how the run computes, and what it says of it.</summary>
internal sealed partial class TrainingRun
{
    private const int LargestCuDnnHead = 128;

    private ComputePlan Decide(Machine machine, (RunState State, SafetensorsContent Content, string Path)? saved)
    {
        try
        {
            return ComputePlan.Decide(_spec, machine, saved?.State.Computed);
        }
        catch (BadInputException)
        {
            saved?.Content.Dispose();
            throw;
        }
    }

    private void UseFusedProducts()
    {
        if (!_compute.Device.IsCuda)
        {
            return;
        }
        FusedLinear.TuneProducts(_plan.TotalSteps >= ComputePlan.TunedSteps);
        var config = ((Gpt)_net).Config;
        // The fastest where it can be had; it takes no other widths of heads.
        if (config.Width / config.Heads is var head && head % 8 == 0 && head <= LargestCuDnnHead)
        {
            CudaDevice.AllowAttention(AttentionKinds.CuDnn);
        }
    }

    /// <summary>Says how the run computes; again when capturing has succeeded or failed.</summary>
    private void TellCompute()
    {
        (_captured, _hindered) = (_step.IsCaptured, _step.Hindrance is not null);
        List<string> more = [_recomputation.Reason];
        if (_compute is { HalfWeights: true, Device.IsCuda: true })
        {
            more.Add(_plan.TotalSteps >= ComputePlan.TunedSteps
                ? "The first product of each shape tries out cuBLASLt's algorithms."
                : FormattableString.Invariant($"Products take cuBLASLt's first proposal: trying out others does not come back in fewer than {ComputePlan.TunedSteps} steps."));
        }
        if (_step.Hindrance is { } hindrance)
        {
            more.Add($"Steps are not captured after all: {hindrance}");
        }
        if (_step.Layers is { } layers)
        {
            more.AddRange(layers.Notes);
            _told = layers.Version;
            var counts = layers.Layers.CountBy(l => l.Precision).OrderBy(p => p.Key).Select((p, i) => $"{p.Value}{(i == 0 ? " layers" : "")} in {Name(p.Key)}");
            more.Add($"After {_state.Step} steps: {string.Join(", ", counts)}.");
        }
        _events.Compute(_compute.Record(_captured, _recomputation.Segments, more.Where(r => r.Length > 0)));
    }

    private static string Name(LayerPrecision precision) => precision switch { LayerPrecision.Float8 => "fp8", LayerPrecision.Half => "bf16", _ => "fp32" };
}
