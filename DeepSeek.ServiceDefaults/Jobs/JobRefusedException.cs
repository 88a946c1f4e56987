namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>The job's input is at fault: another attempt would fail the same way. The message names fault and remedy.</summary>
public sealed class JobRefusedException(string message, Exception? inner = null) : Exception(message, inner);
