using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>What a part of a step did to the tensors' memory, in bytes but for the requests.</summary>
/// <param name="Name">Such as forward, backward or optimizer.</param>
/// <param name="Before">In tensors when it began.</param>
/// <param name="After">In tensors when it ended.</param>
/// <param name="Peak">Most in tensors meanwhile.</param>
/// <param name="Allocations">Requests.</param>
/// <param name="Allocated">Sum of the requests.</param>
public sealed record PhaseMemory(string Name, long Before, long After, long Peak, long Allocations, long Allocated);

/// <summary>
/// Measures the phases of steps on one device. The counters are the whole process's: nothing else should compute meanwhile, and
/// phases follow each other without nesting. A replayed step has no phases; measure one of those before it is recorded.
/// </summary>
public sealed class MemoryPhases(Device device)
{
    private readonly List<PhaseMemory> _phases = [];

    /// <summary>Phases measured so far, in order.</summary>
    public IReadOnlyList<PhaseMemory> Measured => _phases;

    /// <summary>Measures until disposed.</summary>
    public Phase Enter(string name)
    {
        AllocatorMemory.ResetPeak(device);
        return new Phase(this, name, AllocatorMemory.Of(device));
    }

    /// <summary>A phase at work.</summary>
    public readonly ref struct Phase
    {
        private readonly MemoryPhases _owner;
        private readonly string _name;
        private readonly AllocatorMemory _begun;

        internal Phase(MemoryPhases owner, string name, AllocatorMemory begun) => (_owner, _name, _begun) = (owner, name, begun);

        /// <summary>Ends it.</summary>
        public void Dispose() => _owner?.End(_name, _begun);
    }

    private void End(string name, AllocatorMemory begun)
    {
        var now = AllocatorMemory.Of(device);
        _phases.Add(new PhaseMemory(name, begun.Current, now.Current, now.Peak, now.Allocations - begun.Allocations, now.Allocated - begun.Allocated));
    }
}
