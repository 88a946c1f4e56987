using DeepSeek.Engine.Profiling;

namespace DeepSeek.Engine.Tests.Profiling;

internal static class Ceilings
{
    /// <summary>100 GFLOP/s, 10 GB/s, 2 µs a call: round numbers for constructed traces.</summary>
    internal static readonly DeviceCeilings Known = new() { FlopRates = new Dictionary<string, double> { ["float32"] = 1e11 }, Bandwidth = 1e10, CallSeconds = 2e-6, Source = "given by the test" };
}
