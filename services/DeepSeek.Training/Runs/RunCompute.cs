using System.Text.Json;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Messaging;
using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>How the trainer computes, in its own words.</summary>
/// <param name="Device">cpu, or the GPU as libtorch numbers it: cuda:0.</param>
/// <param name="DeviceName">Product.</param>
/// <param name="Precision">fp32, bf16 or fp16.</param>
/// <param name="Captured">Whether steps are replayed from a recording.</param>
/// <param name="Recomputed">Segments of the net whose activations are dropped and computed again.</param>
/// <param name="Reasons">Why each of these was chosen.</param>
public sealed record RunCompute(
    string Device, string DeviceName, string Precision, bool Captured, IReadOnlyList<string> Recomputed, IReadOnlyList<string> Reasons)
{
    /// <summary>What its steps took; once trained.</summary>
    public RunUsage? Usage { get; init; }

    /// <summary>What limited it and what other devices would make of it; once trained.</summary>
    public HardwareAdvice? Advice { get; init; }

    public static RunCompute Of(TrainerEvent told) => new(
        told.Device ?? "", told.DeviceName ?? "", told.Precision ?? "", told.Captured, told.Recomputed ?? [], told.Reasons ?? []);

    /// <summary>One line for the job's log.</summary>
    public string Describe() => $"computing on {Device} ({DeviceName}), {Precision}, steps {(Captured ? "captured" : "not captured")}"
        + (Recomputed.Count > 0 ? $", {Recomputed.Count} segments computed again" : "");
}

/// <summary>Stores in the run's row how it computes, as long as the attempt holds the fence; while the database is away the newest word waits.</summary>
internal sealed class ComputeSink(TrainingDb db, Guid run, Guid lease)
{
    private string? _waiting;

    public Task SetAsync(RunCompute compute, CancellationToken cancellationToken)
    {
        _waiting = JsonSerializer.Serialize(compute, PlatformJson.Options);
        return FlushAsync(cancellationToken);
    }

    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        if (_waiting is not { } compute)
        {
            return;
        }
        try
        {
            await db.Runs.Where(row => row.Id == run && row.LeaseId == lease)
                .ExecuteUpdateAsync(row => row.SetProperty(r => r.Compute, compute), cancellationToken);
            _waiting = null;
        }
        catch (Exception fault) when (Transients.Includes(fault))
        {
            // It is tried again with the next progress.
        }
    }
}
