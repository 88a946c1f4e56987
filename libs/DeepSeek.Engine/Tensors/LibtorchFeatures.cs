namespace DeepSeek.Engine.Tensors;

/// <summary>What the libtorch at hand can do, by its version.</summary>
internal static class LibtorchFeatures
{
    private static readonly Version s_version = EngineRuntime.LibtorchVersion;

    /// <summary>One operator for attention, grouped queries included.</summary>
    internal static readonly bool FusedAttention = s_version >= new Version(2, 5);

    /// <summary>One operator for RMS normalisation.</summary>
    internal static readonly bool FusedRmsNorm = s_version >= new Version(2, 4);

    /// <summary>Normalisation of half precision by float32 weights on the CPU.</summary>
    internal static readonly bool MixedNorms = s_version >= new Version(2, 0);
}
