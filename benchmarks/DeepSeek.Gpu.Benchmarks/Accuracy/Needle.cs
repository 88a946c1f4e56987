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
        var name = new string([.. Enumerable.Range(0, NameLength).Select(_ => (char)('a' + random.Next(26)))]);
        var code = random.Next((int)Math.Pow(10, CodeLength)).ToString($"D{CodeLength}", CultureInfo.InvariantCulture);
        var (fact, question) = (Fact(name, code), Question(name) + code);
        if (text.Length < Size)
        {
            throw new ArgumentException($"A text of {text.Length} bytes cannot hide a needle of {Size}.");
        }
        Encoding.ASCII.GetBytes(fact, text[(int)(depth * (text.Length - question.Length - fact.Length))..]);
        Encoding.ASCII.GetBytes(question, text[^question.Length..]);
    }

    private static string Fact(string name, string code) => $"\nThe code of {name} is {code}.\n";

    private static string Question(string name) => $"\nThe code of {name}, as told above, is ";
}
