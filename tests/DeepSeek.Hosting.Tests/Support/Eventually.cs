using System.Diagnostics;

namespace DeepSeek.Hosting.Tests;

/// <summary>Waits for conditions, with a deadline that only a fault reaches.</summary>
internal static class Eventually
{
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(120);

    public static CancellationToken Token => new CancellationTokenSource(Deadline).Token;

    public static async Task True(Func<bool> condition, string what, TimeSpan? deadline = null)
    {
        var started = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < (deadline ?? Deadline), $"Not within {deadline ?? Deadline}: {what}");
            await Task.Delay(20);
        }
    }
}
