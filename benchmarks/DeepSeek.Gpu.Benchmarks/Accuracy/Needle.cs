using System.Globalization;
using System.Text;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>
/// A fact hidden in a text and asked for at its end (the needle-in-a-haystack probe, Kamradt 2023): which code, of those that nobody can
/// guess, belongs to a name.
/// </summary>
internal static class Needle
{
    internal const int CodeLength = 6;

    private const int NameLength = 6;

    /// <summary>Bytes that fact and question take from a window; a window must be longer.</summary>
    internal static int Size { get; } = Fact("", "").Length + Question("").Length + 2 * (NameLength + CodeLength);

    /// <summary>
    /// Overwrites a part of the text with a fact at <paramref name="depth"/> (0: at the start, 1: just before the question) and its end with the question and
    /// the answer, which is the text's last <see cref="CodeLength"/> bytes.
    /// </summary>
    internal static void Hide(Span<byte> text, double depth, System.Random random)
    {
        if (text.Length < Size)
        {
            throw new ArgumentException($"A text of {text.Length} bytes cannot hide a needle of {Size}.");
        }
        var (fact, question) = Draw(random);
        Encoding.ASCII.GetBytes(fact, text[(int)(depth * (text.Length - question.Length - fact.Length))..]);
        Encoding.ASCII.GetBytes(question, text[^question.Length..]);
    }

    /// <summary>As many facts as given, each somewhere in a part of its own of the text, and all questions with their answers at the end, in another order.</summary>
    internal static void HideMany(Span<byte> text, int count, System.Random random)
    {
        if (text.Length < count * 2 * Size)
        {
            throw new ArgumentException($"A text of {text.Length} bytes cannot hide {count} needles of {Size}.");
        }
        var pairs = Enumerable.Range(0, count).Select(_ => Draw(random)).ToArray();
        var part = (text.Length - pairs.Sum(p => p.Question.Length)) / count;
        for (var i = 0; i < count; i++)
        {
            Encoding.ASCII.GetBytes(pairs[i].Fact, text[(i * part + random.Next(part - pairs[i].Fact.Length + 1))..]);
        }
        random.Shuffle(pairs);
        var end = text.Length;
        foreach (var (_, question) in pairs)
        {
            end -= question.Length;
            Encoding.ASCII.GetBytes(question, text[end..]);
        }
    }

    private static (string Fact, string Question) Draw(System.Random random)
    {
        var name = new string([.. Enumerable.Range(0, NameLength).Select(_ => (char)('a' + random.Next(26)))]);
        var code = random.Next((int)Math.Pow(10, CodeLength)).ToString($"D{CodeLength}", CultureInfo.InvariantCulture);
        return (Fact(name, code), Question(name) + code);
    }

    private static string Fact(string name, string code) => $"\nThe code of {name} is {code}.\n";

    private static string Question(string name) => $"\nAsked again, the code of {name} is ";
}
