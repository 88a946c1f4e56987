namespace DeepSeek.Cli;

/// <summary>What a script can tell from the exit status.</summary>
internal static class ExitCodes
{
    public const int Success = 0;

    /// <summary>The platform did the work and it failed: a job ended in failure, a check did not hold.</summary>
    public const int Failed = 1;

    /// <summary>The command line or the input is at fault.</summary>
    public const int Usage = 2;

    /// <summary>The gateway cannot be reached.</summary>
    public const int Unreachable = 3;

    /// <summary>The key is missing, wrong, revoked, or its role does not allow this.</summary>
    public const int NotAllowed = 4;

    /// <summary>What was asked for does not exist.</summary>
    public const int NotFound = 5;

    /// <summary>Ended by Ctrl+C.</summary>
    public const int Interrupted = 130;
}
