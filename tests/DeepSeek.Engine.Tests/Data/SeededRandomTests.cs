using DeepSeek.Engine.Data;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Data;

public sealed class SeededRandomTests
{
    [Fact]
    public void Next_Seed1234567_GivesSplitMix64sPublishedNumbers()
    {
        // First values of splitmix64.c for this seed, as its author's test lists them (prng.di.unimi.it).
        var random = new SeededRandom(1234567);

        Assert.Equal([6457827717110365317UL, 3203168211198807973UL, 9817491932198370423UL, 4593380528125082431UL, 16408922859458223821UL],
            [random.Next(), random.Next(), random.Next(), random.Next(), random.Next()]);
    }

    [Fact]
    public void Below_AnyBound_StaysBelow() => Prop.ForAll<long, int>((seed, bound) =>
    {
        var random = new SeededRandom(seed);
        var limit = Math.Abs(bound % 1000) + 1;
        return Enumerable.Range(0, 50).All(_ => random.Below(limit) is var drawn && drawn >= 0 && drawn < limit);
    }).Holds();

    [Fact]
    public void Shuffle_AnyLength_Permutes() => Prop.ForAll<long, byte>((seed, length) =>
    {
        var entries = Enumerable.Range(0, length).ToArray();
        new SeededRandom(seed).Shuffle<int>(entries);
        return entries.Order().SequenceEqual(Enumerable.Range(0, length));
    }).Holds();

    [Fact]
    public void Shuffle_ThreeEntries_FavoursNoOrder()
    {
        var counts = new Dictionary<string, int>();
        for (var seed = 0; seed < 6000; seed++)
        {
            char[] entries = ['a', 'b', 'c'];
            new SeededRandom(seed, 5).Shuffle<char>(entries);
            var key = new string(entries);
            counts[key] = counts.GetValueOrDefault(key) + 1;
        }

        // Each of six orders is expected 1000 times; the standard deviation is 29, five of them make 145.
        Assert.Equal(6, counts.Count);
        Assert.All(counts.Values, c => Assert.InRange(c, 855, 1145));
    }
}
