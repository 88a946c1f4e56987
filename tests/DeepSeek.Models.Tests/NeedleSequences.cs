using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>
/// A task whose right token is known: among noise lies one needle, and every token after it is to tell the needle's value. A query
/// must attend to the needle, wherever it lies. A guess costs ln 8 = 2.08 nats.
/// </summary>
internal static class NeedleSequences
{
    internal const int Length = 64, Batch = 32, Vocabulary = FirstAnswer + Values;
    private const int Noise = 16, Values = 8, FirstNeedle = Noise, FirstAnswer = FirstNeedle + Values;

    /// <summary>Ids and targets [Batch, Length], and the needles' places; there is no target up to the end of the needle's block of so many tokens.</summary>
    internal static (Tensor Ids, Tensor Targets, int[] Needles) Of(int seed, int block = 1)
    {
        var random = new Random(seed);
        var (ids, targets, needles) = (new long[Batch * Length], new long[Batch * Length], new int[Batch]);
        for (var b = 0; b < Batch; b++)
        {
            var value = random.Next(Values);
            needles[b] = random.Next(Length * 3 / 4);
            for (var t = 0; t < Length; t++)
            {
                ids[b * Length + t] = t == needles[b] ? FirstNeedle + value : random.Next(Noise);
                targets[b * Length + t] = t / block > needles[b] / block ? FirstAnswer + value : -1;
            }
        }
        return (Tensor.From<long>(ids, Batch, Length), Tensor.From<long>(targets, Batch, Length), needles);
    }
}
