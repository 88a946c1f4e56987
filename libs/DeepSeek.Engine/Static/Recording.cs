namespace DeepSeek.Engine;

/// <summary>A step cannot be made static; the message says which call prevents it and what to do instead.</summary>
public sealed class CaptureException(string message, Exception? inner = null) : InvalidOperationException(message, inner);

/// <summary>Whether this thread is recording a step, in which nothing may wait for a value.</summary>
internal static class Recording
{
    [ThreadStatic] private static bool t_active;

    internal static bool IsActive
    {
        get => t_active;
        set => t_active = value;
    }

    internal static void RefuseHostAccess(string call)
    {
        if (t_active)
        {
            throw new CaptureException($"{call} moves values between host and device inside a captured step, where replays would not repeat it. Do it on the inputs before, or the output after Run().");
        }
    }
}
