namespace DeepSeek.Training.Runs;

/// <summary>What a run's steps took, as its trainer measured and counted.</summary>
/// <param name="Steps">Steps that were timed; the first ones, in which libraries set themselves up, are not.</param>
/// <param name="Seconds">All these steps took.</param>
/// <param name="Waiting">Seconds of these in which the step waited for its batches.</param>
/// <param name="Type">Element type of its products: float32, bfloat16 or float16.</param>
/// <param name="Flops">Floating-point operations of one step, counted by formula; null when the run was too short to count them.</param>
/// <param name="Bytes">Bytes that one step's operators read and write at least.</param>
/// <param name="Calls">Operators of one step.</param>
/// <param name="Memory">Most bytes in tensors during a step.</param>
/// <param name="MemoryLimit">Bytes there were for them; null when unknown.</param>
public sealed record RunUsage(long Steps, double Seconds, double Waiting, string Type, double? Flops, double? Bytes, int? Calls, long? Memory, long? MemoryLimit)
{
    /// <summary>Seconds of a step.</summary>
    internal double StepSeconds => Seconds / Steps;

    /// <summary>Seconds of a step that waited for batches.</summary>
    internal double StepWaiting => Math.Min(Waiting, Seconds) / Steps;
}
