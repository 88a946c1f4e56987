namespace DeepSeek.Engine.Native;

/// <summary>Why a native call failed; twin of DS_* in core.h.</summary>
public enum NativeStatus
{
    /// <summary>It did not.</summary>
    Ok = 0,
    /// <summary>An argument is null, out of range, or of the wrong size or kind.</summary>
    InvalidArgument = 1,
    /// <summary>libtorch has no such operator.</summary>
    NotFound = 2,
    /// <summary>Host or device memory is exhausted.</summary>
    OutOfMemory = 3,
    /// <summary>libtorch refused the call.</summary>
    OperatorFailed = 4,
    /// <summary>Anything else.</summary>
    Internal = 5,
}

/// <summary>A failed call into libdeepseek, with the library's own words.</summary>
public sealed class NativeException(NativeStatus status, string message) : Exception(message)
{
    /// <summary>Kind of failure.</summary>
    public NativeStatus Status { get; } = status;
}
