using System.Text;
using System.Text.RegularExpressions;
using DeepSeek.Gpu.Benchmarks.Accuracy;

namespace DeepSeek.Models.Tests;

/// <summary>What the accuracy study trains on and asks for: a net can only be blamed for what it was shown, and only for what can be known.</summary>
public sealed partial class NeedleTests
{
    private const int Length = 4097;
    private const int Room = Length - 73;

    [Fact]
    public void HideMany_AnyCount_EachCodeStandsInItsFactAndBehindItsQuestionAlone()
    {
        var random = new Random(1);
        var (asked, hidden) = (0, 0);
        for (var row = 0; row < 300; row++)
        {
            var text = Blank(Length);
            var places = Needle.HideMany(text, 1 + row % 24, random);
            var facts = FactPattern().Matches(Ascii(text)).ToDictionary(m => m.Groups[1].Value);
            var questions = QuestionPattern().Matches(Ascii(text)).ToDictionary(m => m.Groups[1].Value);

            Assert.InRange(places.Count, 1, 1 + row % 24);
            asked += 1 + row % 24;
            hidden += places.Count;
            Assert.Equal(places.Select(p => p.Fact).Order(), facts.Values.Select(m => m.Index).Order());
            Assert.Equal(places.Select(p => p.Question).Order(), questions.Values.Select(m => m.Index).Order());
            foreach (var (name, fact) in facts)
            {
                Assert.Equal(fact.Groups[2].Value, questions[name].Groups[2].Value);
                Assert.True(fact.Index + fact.Length <= questions[name].Index, "A question stood before its fact.");
                Assert.Equal(2, Regex.Count(Ascii(text), fact.Groups[2].Value));
            }
            // The rest is as it was.
            Assert.Equal(Length - places.Count * Needle.Size, text.Count(b => b == '.') - places.Count);
        }
        Assert.InRange(hidden, 0.96 * asked, asked); // the longest ways do not always fit
    }

    [Fact]
    public void HideThenAsk_AnyCount_AsksForEveryFactInARunAtTheEnd()
    {
        var random = new Random(6);
        for (var count = 1; count <= 24; count++)
        {
            var text = Blank(Length);
            var places = Needle.HideThenAsk(text, count, random);
            var facts = FactPattern().Matches(Ascii(text)).ToDictionary(m => m.Groups[1].Value);
            var questions = QuestionPattern().Matches(Ascii(text)).ToDictionary(m => m.Groups[1].Value);

            Assert.Equal(Enumerable.Range(1, count).Select(turn => Length - turn * Needle.QuestionLength).Order(), places.Select(p => p.Question).Order());
            Assert.Equal(places.Select(p => p.Fact).Order(), facts.Values.Select(m => m.Index).Order());
            Assert.Equal(places.Select(p => p.Question).Order(), questions.Values.Select(m => m.Index).Order());
            Assert.All(facts, fact => Assert.Equal(fact.Value.Groups[2].Value, questions[fact.Key].Groups[2].Value));
        }
        Assert.Throws<ArgumentException>(() => Needle.HideThenAsk(Blank(Needle.Size * 3 - 1), 3, random));
    }

    [Fact]
    public void HideMany_ManyRows_EveryDistanceIsAskedOften()
    {
        var gaps = Rows(3000).SelectMany(row => row).Select(p => p.Question - p.Fact - Needle.FactLength).ToArray();

        // By orders of magnitude, and by equal parts; the study sees eight times as many rows.
        foreach (var (from, to) in new[] { (0, 1), (1, 8), (8, 32), (32, 64), (64, 170), (170, 512) })
        {
            Assert.InRange(gaps.Count(g => g >= from && g < to), 400, gaps.Length);
        }
        for (var part = 0; part < 16; part++)
        {
            // An even share is one in 16. The first part holds most of the logarithm's quarter; crowded rows have less room for the longest ways.
            Assert.InRange(gaps.Count(g => g * 16 / (Room + 1) == part) / (double)gaps.Length, 0.025, 0.25);
        }
    }

    [Fact]
    public void HideMany_ManyRows_FactsAndQuestionsBeginAtEveryPlaceOfABlock()
    {
        var places = Rows(3000).SelectMany(row => row).ToArray();
        var even = places.Length / 64.0;

        // Counts of about 580: a third is over eight standard deviations.
        Assert.All(Enumerable.Range(0, 64), offset =>
        {
            Assert.InRange(places.Count(p => p.Fact % 64 == offset), even * 0.67, even * 1.33);
            Assert.InRange(places.Count(p => p.Question % 64 == offset), even * 0.67, even * 1.33);
        });
    }

    [Fact]
    public void HideMany_EveryRow_OneQuestionEndsInTheLastBlockWithAnyDistance()
    {
        var rows = Rows(3000).ToArray();

        Assert.All(rows, row => Assert.InRange(row[0].Question + Needle.QuestionLength, Length - 63, Length));
        var gaps = rows.Select(row => row[0].Question - row[0].Fact - Needle.FactLength).ToArray();
        Assert.InRange(gaps.Count(g => g < 170), 400, 800); // a quarter · ln 171 / ln 4026, and 170 / 4025 of the rest: 18.6 %, 557
        Assert.InRange(gaps.Count(g => g >= Room / 2), 1100, 1400); // three quarters of a half, and a quarter · ln 2 / ln 4026: 39.6 %, 1187
        Assert.Equal(64, rows.Select(row => row[0].Question % 64).Distinct().Count());
    }

    [Fact]
    public void HideMany_MoreThanFit_LeavesTheRestOutAndOverlapsNothing()
    {
        var text = Blank(300);
        var places = Needle.HideMany(text, 24, new Random(5));

        Assert.InRange(places.Count, 1, 4);
        Assert.Equal(places.Count, FactPattern().Count(Ascii(text)));
        Assert.Equal(places.Count, QuestionPattern().Count(Ascii(text)));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 0)]
    [InlineData(4023, 0)]
    [InlineData(4023, 4023)]
    public void Gap_AnyRoom_StaysInIt(int room, int asked)
    {
        var random = new Random(2);
        var drawn = Enumerable.Range(0, 100_000).Select(_ => Needle.Gap(room, random)).ToArray();

        Assert.InRange(drawn.Min(), 0, room);
        Assert.InRange(drawn.Max(), 0, room);
        Assert.Contains(asked, drawn);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.37)]
    [InlineData(1.0)]
    public void Hide_AtADepth_FactIsWholeAndUniqueAndTheQuestionEndsTheText(double depth)
    {
        var text = Blank(4096);
        var gap = Needle.Hide(text, depth, new Random(3));

        var fact = Assert.Single(FactPattern().Matches(Ascii(text)));
        var question = Assert.Single(QuestionPattern().Matches(Ascii(text)));
        Assert.Equal(gap, question.Index - fact.Index - fact.Length);
        Assert.Equal(4096, question.Index + question.Length);
        Assert.Equal((int)(depth * 4023), fact.Index);
        Assert.Equal(fact.Groups[2].Value, question.Groups[2].Value);
        // The text that the code is asked behind does not hold it after the fact.
        Assert.DoesNotContain(fact.Groups[2].Value, Ascii(text)[(fact.Index + fact.Length)..^Needle.CodeLength]);
    }

    [Fact]
    public void Hide_ShortText_Throws() => Assert.Throws<ArgumentException>(() => Needle.Hide(Blank(Needle.Size - 1), 0, new Random(1)));

    [Fact]
    public void Groups_OfProbes_CoverDepthsAndAlignmentsAndAreTheSameForEveryNet()
    {
        var folder = Directory.CreateTempSubdirectory();
        try
        {
            File.WriteAllBytes(Path.Combine(folder.FullName, "train.txt"), Blank(10));
            File.WriteAllBytes(Path.Combine(folder.FullName, "valid.txt"), [.. Enumerable.Range(0, 50_000).Select(i => (byte)('A' + i % 26))]);
            var corpus = new Corpus(folder.FullName);
            var groups = Haystack.Groups(corpus, 1024, 240, 8);
            var all = groups.SelectMany(g => g).ToArray();

            Assert.Equal(240, all.Length);
            Assert.All(groups, g => Assert.Single(g.Select(h => h.Text.Length).Distinct()));
            Assert.Equal(30, groups.Select(g => g[0].Text.Length % 64).Distinct().Count());
            Assert.InRange(all.Min(h => h.Text.Length), 1024 - 63, 1024 - 60);
            Assert.Equal(Enumerable.Range(0, 240).Select(n => n / 239.0), all.Select(h => h.Depth).Order());
            Assert.All(all, h => Assert.Single(FactPattern().Matches(Ascii(h.Text))));
            Assert.Equal(0, all.Single(h => h.Depth == 1).Gap);
            // Depth tells nothing of the alignment: 240 pairs would correlate by 0.26 once in 20 000 draws.
            Assert.InRange(Correlation([.. all.Select(h => h.Depth)], [.. all.Select(h => (double)h.Text.Length)]), -0.26, 0.26);
            Assert.Equal(all.Select(h => Ascii(h.Text)), Haystack.Groups(corpus, 1024, 240, 8).SelectMany(g => g).Select(h => Ascii(h.Text)));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static IEnumerable<List<(int Fact, int Question)>> Rows(int count)
    {
        var random = new Random(4);
        return Enumerable.Range(0, count).Select(_ => Needle.HideMany(Blank(Length), random.Next(24) + 1, random));
    }

    private static double Correlation(double[] a, double[] b)
    {
        var (meanA, meanB) = (a.Average(), b.Average());
        return a.Zip(b).Sum(p => (p.First - meanA) * (p.Second - meanB)) / Math.Sqrt(a.Sum(x => (x - meanA) * (x - meanA)) * b.Sum(x => (x - meanB) * (x - meanB)));
    }

    private static byte[] Blank(int length) => [.. Enumerable.Repeat((byte)'.', length)];

    private static string Ascii(byte[] text) => Encoding.ASCII.GetString(text);

    [GeneratedRegex("\nThe code of ([a-z]{6}) is ([0-9]{6})\\.\n")]
    private static partial Regex FactPattern();

    [GeneratedRegex("\nAsked again, the code of ([a-z]{6}) is ([0-9]{6})")]
    private static partial Regex QuestionPattern();
}
