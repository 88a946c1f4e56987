using DeepSeek.Engine.Nn;

namespace DeepSeek.Engine.Memory;

/// <summary>A value inside a segment that is cheap to keep and dear to compute again.</summary>
/// <param name="Name">For messages.</param>
/// <param name="Size">In sizes of the segment's output; 0 where the net, as it is set up, cannot keep it.</param>
/// <param name="Spared">Modules inside the segment that then need not be computed again,</param>
/// <param name="Besides">but for these parts of them.</param>
public sealed record Keepable(string Name, double Size, IReadOnlyList<Module> Spared, IReadOnlyList<Module> Besides);
