using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace DeepSeek.Testing;

/// <summary>Waits for a condition with a deadline, in place of sleeping.</summary>
public static class Eventually
{
    /// <summary>Default deadline: only a fault reaches it, however busy the machine; a condition that holds is seen within 50 ms.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(25);

    public static Task True(
        Func<bool> condition, TimeSpan? deadline = null, [CallerArgumentExpression(nameof(condition))] string what = "") =>
        True(() => Task.FromResult(condition()), deadline, what);

    public static async Task True(
        Func<Task<bool>> condition, TimeSpan? deadline = null, [CallerArgumentExpression(nameof(condition))] string what = "") =>
        await NotNull(async () => await condition() ? "" : null, deadline, what);

    /// <summary>The first value that is not null.</summary>
    public static async Task<T> NotNull<T>(
        Func<Task<T?>> value, TimeSpan? deadline = null, [CallerArgumentExpression(nameof(value))] string what = "")
        where T : class
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            if (await value() is { } found)
            {
                return found;
            }

            if (watch.Elapsed > (deadline ?? Deadline))
            {
                throw new AssertionFailedException($"Not true within {(deadline ?? Deadline).TotalSeconds} s: {what}");
            }

            await Task.Delay(s_step);
        }
    }
}

/// <summary>A test's expectation did not hold.</summary>
public sealed class AssertionFailedException(string message) : Exception(message);
