using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Models.Tests;

/// <summary>The two ways in which a model with block-sparse attention is opened.</summary>
internal static class SparseSession
{
    /// <summary>Whether the platform's operators are there; without them its sessions compute as any runtime does.</summary>
    internal static bool HasLibrary => PlatformOperators.Library is not null;

    /// <summary>As any runtime opens it.</summary>
    internal static InferenceSession Plain(byte[] model)
    {
        using var options = Options();
        return new InferenceSession(model, options);
    }

    /// <summary>As the platform's services open it.</summary>
    internal static InferenceSession Platform(byte[] model)
    {
        using var options = Options();
        var session = PlatformOperators.Open(model, options, out var attention);
        Assert.Equal(HasLibrary ? ServedAttention.BlockSparse : ServedAttention.Dense, attention);
        return session;
    }

    private static SessionOptions Options() => new() { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
}
