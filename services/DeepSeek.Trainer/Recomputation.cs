using System.Globalization;
using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>Which of the net's segments are computed again, and why.</summary>
internal sealed record Recomputation(IReadOnlyList<string> Segments, string Reason)
{
    private const double Mebibyte = 1 << 20;

    /// <summary>Sets the net up as the spec asks; for a budget forward passes over the first batch are measured.</summary>
    internal static Recomputation Of(TrainingPlan plan, Module net, PipelineTransform transform, TrainingStep step)
    {
        if (plan.Spec.Checkpointing == Checkpointing.Off)
        {
            return new Recomputation([], "");
        }
        var segments = CheckpointPlanner.Segments(net);
        if (plan.Spec.Checkpointing.Mebibytes is not { } budget)
        {
            foreach (var (_, module) in segments)
            {
                module.Recomputes = true;
            }
            return new Recomputation([.. segments.Select(s => s.Name)], $"All {segments.Count} segments are computed again in the backward pass, as the spec asks.");
        }
        using var loader = new BatchLoader(plan.Train, new BatchOptions { BatchSize = (int)Math.Min(plan.Spec.BatchSize, plan.Train.Rows) });
        using var scope = TensorScope.Open();
        loader.Next(out var batch);
        var (features, target) = (transform.Apply(batch.Features), transform.Target(batch.Target));
        var chosen = CheckpointPlanner.Choose(CheckpointPlanner.Measure(net, rows => step.Loss(features.Narrow(0, 0, rows), target.Narrow(0, 0, rows)), batch.Rows), (long)(budget * Mebibyte));
        chosen.Apply(net);
        return new Recomputation(chosen.Segments, string.Create(CultureInfo.InvariantCulture,
            $"Activations take {chosen.Plain / Mebibyte:F1} MiB as measured; {Choice(chosen, segments.Count)} at {budget} MiB allowed."));
    }

    private static string Choice(CheckpointPlan chosen, int segments) => FormattableString.Invariant(chosen switch
    {
        { Segments.Count: 0, Fits: true } => (FormattableString)$"nothing needs to be computed again",
        { Fits: true } => $"{chosen.Segments.Count} of {segments} segments are computed again, which leaves {chosen.Planned / Mebibyte:F1} MiB",
        _ => $"even with {chosen.Segments.Count} of {segments} segments computed again they take {chosen.Planned / Mebibyte:F1} MiB, too much",
    });
}
