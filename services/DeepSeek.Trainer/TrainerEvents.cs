using System.Text.Json;
using System.Text.Json.Serialization;
using DeepSeek.Engine.Memory;

namespace DeepSeek.Trainer;

/// <summary>Tells the parent process what happens, one JSON object a line.</summary>
internal sealed class TrainerEvents(TextWriter output)
{
    internal static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    internal void Started(int epochs, long steps, int threads, long resumedFrom) =>
        Write(new { Event = "started", Epochs = epochs, Steps = steps, Threads = threads, ResumedFromStep = resumedFrom });

    internal void Compute(ComputeRecord compute) => Write(new
    {
        Event = "compute",
        compute.Device,
        compute.DeviceName,
        compute.Precision,
        compute.Captured,
        compute.Recomputed,
        compute.Reasons,
    });

    internal void Memory(IReadOnlyList<PhaseMemory> phases, IReadOnlyList<MemoryHolding> lasting) => Write(new
    {
        Event = "memory",
        Phases = phases,
        Lasting = lasting.GroupBy(h => h.Kind).ToDictionary(g => JsonNamingPolicy.CamelCase.ConvertName(g.Key.ToString()), g => g.Sum(h => h.Bytes)),
    });

    internal void Progress(int epoch, long step, double loss, IReadOnlyDictionary<string, double> metrics, double progress, double? tokensPerSecond) =>
        Write(new { Event = "progress", Epoch = epoch, Step = step, Loss = loss, Metrics = metrics, Progress = progress, TokensPerSecond = tokensPerSecond });

    internal void Usage(UsageRecord usage) => Write(new { Event = "usage", Usage = usage });

    internal void Checkpoint(long step) => Write(new { Event = "checkpoint", Step = step });

    internal void Warning(string message) => Write(new { Event = "warning", Message = message });

    internal void Error(string message, IReadOnlyDictionary<string, string[]>? errors) => Write(new { Event = "error", Message = message, Errors = errors });

    internal void Done(IReadOnlyDictionary<string, double> metrics) => Write(new { Event = "done", Metrics = metrics });

    private void Write<T>(T what)
    {
        output.WriteLine(JsonSerializer.Serialize(what, Json));
        output.Flush();
    }
}
