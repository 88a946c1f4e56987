using System.Runtime.InteropServices;

namespace DeepSeek.Compression.Quantization;

/// <summary>What this machine's CPU does with 8-bit products.</summary>
public static class CpuFeatures
{
    /// <summary>
    /// True when products of unsigned and signed 8-bit numbers are added in 32 bits (x86 VNNI, Arm dot product).
    /// Without it x86 adds pairs of them in 16 bits, which saturate with full 8-bit weights.
    /// </summary>
    public static bool AddsProductsIn32Bits { get; } = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 or Architecture.X86 => Flags().Any(f => f is "avx512_vnni" or "avx_vnni"),
        _ => true,
    };

    private static IEnumerable<string> Flags()
    {
        // .NET does not tell of AVX512-VNNI; without the file we assume the older CPU, whose weights work everywhere.
        const string CpuInfo = "/proc/cpuinfo";
        return File.Exists(CpuInfo)
            ? File.ReadLines(CpuInfo).FirstOrDefault(l => l.StartsWith("flags", StringComparison.Ordinal))?.Split(' ') ?? []
            : [];
    }
}
