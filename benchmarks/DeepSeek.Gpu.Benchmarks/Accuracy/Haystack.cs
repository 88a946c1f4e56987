namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>A text that ends with a question and its code: how deep the fact lies, in [0, 1], and how many bytes before the question it ends.</summary>
internal sealed record Haystack(byte[] Text, double Depth, int Gap)
{
    private const int Alignments = 64;
    private const int Seed = 20231108;

    /// <summary>
    /// Texts of the validation corpus with one needle each, the same for every net, in groups of equal length. Depths are equally spaced from 0 to 1 and dealt out at random.
    /// The groups' texts are 0 to 63 bytes shorter than <paramref name="length"/>, so that questions end at every part of a block of queries: what a choice by blocks
    /// knows of a query depends on where in its block it stands.
    /// </summary>
    internal static List<Haystack[]> Groups(Corpus corpus, int length, int probes, int group)
    {
        var random = new System.Random(Seed);
        var depths = Enumerable.Range(0, probes).Select(n => probes == 1 ? 0.5 : n / (probes - 1.0)).ToArray();
        random.Shuffle(depths);
        var groups = (probes + group - 1) / group;
        return [.. Enumerable.Range(0, probes).Chunk(group).Select((some, g) => some.Select(n =>
        {
            var text = corpus.Validation(n % corpus.ValidationWindows(length), length)[..(length - g * Alignments / groups)];
            return new Haystack(text, depths[n], Needle.Hide(text, depths[n], random));
        }).ToArray())];
    }
}
