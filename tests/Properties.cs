using System.Globalization;
using FsCheck;
using Microsoft.FSharp.Core;

namespace DeepSeek.Testing;

/// <summary>
/// Properties over random cases, but the same cases every time, so that a failure belongs to the change that brought it.
/// <c>DEEPSEEK_TEST_SEED</c> (default 1) chooses others.
/// </summary>
internal static class Properties
{
    private static readonly ulong s_seed = ulong.Parse(Environment.GetEnvironmentVariable("DEEPSEEK_TEST_SEED") ?? "1", CultureInfo.InvariantCulture);

    /// <summary>Throws with the shrunk case when the property does not hold.</summary>
    /// <param name="property">What holds for all cases.</param>
    /// <param name="cases">How many are tried.</param>
    /// <param name="size">Of the largest one, in FsCheck's sense.</param>
    public static void Holds(this Property property, int cases = 100, int size = 100) => FsCheck.Check.One(
        Config.QuickThrowOnFailure.WithReplay(FSharpOption<Replay>.Some(new Replay(new Rnd(s_seed), FSharpOption<int>.None))).WithMaxTest(cases).WithEndSize(size), property);
}
