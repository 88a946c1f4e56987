using System.Globalization;
using System.Text;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>
/// A fact hidden in a text and asked for behind it (the needle-in-a-haystack probe, Kamradt 2023): which code, of those that nobody can
/// guess, belongs to a name.
/// </summary>
internal static class Needle
{
    internal const int CodeLength = 6;

    private const int NameLength = 6;

    // One needle in so many is as likely near as far by orders of magnitude; the others' distances are all equally likely.
    private const double Near = 0.25;

    // Of the first question behind which a row goes on: every place in a block of 64.
    private const int Alignments = 64;
    private const int Attempts = 50;

    /// <summary>Bytes of a fact.</summary>
    internal static int FactLength { get; } = Fact("", "").Length + NameLength + CodeLength;

    /// <summary>Bytes of a question with its answer, which is its last <see cref="CodeLength"/> bytes.</summary>
    internal static int QuestionLength { get; } = Question("").Length + NameLength + CodeLength;

    /// <summary>Bytes that fact and question take from a window; a window must not be shorter.</summary>
    internal static int Size => FactLength + QuestionLength;

    /// <summary>
    /// Overwrites a part of the text with a fact at <paramref name="depth"/> (0: at the start, 1: just before the question) and its end with the question and
    /// the answer, which is the text's last <see cref="CodeLength"/> bytes. Returns how many bytes there are between fact and question.
    /// </summary>
    internal static int Hide(Span<byte> text, double depth, System.Random random)
    {
        var room = Room(text);
        var fact = (int)(depth * room);
        Write(text, fact, text.Length - QuestionLength, random);
        return room - fact;
    }

    /// <summary>
    /// Up to as many needles as given, which do not touch each other; the rest of the text stays. The first one's question ends in the last <see cref="Alignments"/> bytes, as a
    /// probe's does, the others' stand anywhere. From a fact to its question there is anything from 0 bytes to all the room, see <see cref="Gap"/>. Whatever finds no
    /// free place is left out. Returns where each fact and each question begins.
    /// </summary>
    internal static List<(int Fact, int Question)> HideMany(Span<byte> text, int count, System.Random random)
    {
        var room = Room(text);
        var taken = new List<(int Fact, int Question)>(count);
        for (var i = 0; i < count; i++)
        {
            // One distance, many places: were the distance drawn anew too, long ones, which fit in fewer places, would be rare.
            var gap = Gap(room, random);
            for (var attempt = 0; attempt < Attempts; attempt++)
            {
                var question = taken.Count == 0
                    ? text.Length - QuestionLength - random.Next(Math.Min(Alignments, room - gap + 1))
                    : FactLength + gap + random.Next(room - gap + 1);
                var fact = question - gap - FactLength;
                if (taken.TrueForAll(t => IsApart(fact, FactLength, t) && IsApart(question, QuestionLength, t)))
                {
                    taken.Add((fact, question));
                    Write(text, fact, question, random);
                    break;
                }
            }
        }
        return taken;
    }

    /// <summary>
    /// As many facts as given, each somewhere in a part of its own of the text, and all questions with their answers in a run at its end, in another order: rows in
    /// which much is asked at once, from which a look-up is learned first. Returns where each fact and each question begins.
    /// </summary>
    internal static List<(int Fact, int Question)> HideThenAsk(Span<byte> text, int count, System.Random random)
    {
        var part = text.Length / count - QuestionLength;
        if (part < FactLength)
        {
            throw new ArgumentException($"A text of {text.Length} bytes cannot hide {count} needles of {Size}.");
        }
        int[] order = [.. Enumerable.Range(1, count)];
        random.Shuffle(order);
        var places = new List<(int Fact, int Question)>(count);
        for (var i = 0; i < count; i++)
        {
            places.Add((i * part + random.Next(part - FactLength + 1), text.Length - order[i] * QuestionLength));
            Write(text, places[i].Fact, places[i].Question, random);
        }
        return places;
    }

    /// <summary>Bytes between a fact and its question, from 0 to <paramref name="room"/>: mostly uniform, in one of four cases uniform in its logarithm, since a probe's shallow needles are few among uniform ones.</summary>
    internal static int Gap(int room, System.Random random) => random.NextDouble() < Near
        ? Math.Min(room, (int)Math.Exp(random.NextDouble() * Math.Log(room + 2)) - 1)
        : random.Next(room + 1);

    private static int Room(Span<byte> text) => text.Length - Size is >= 0 and var room
        ? room
        : throw new ArgumentException($"A text of {text.Length} bytes cannot hide a needle of {Size}.");

    private static bool IsApart(int start, int length, (int Fact, int Question) other) =>
        (start + length <= other.Fact || start >= other.Fact + FactLength) && (start + length <= other.Question || start >= other.Question + QuestionLength);

    private static void Write(Span<byte> text, int fact, int question, System.Random random)
    {
        var name = new string([.. Enumerable.Range(0, NameLength).Select(_ => (char)('a' + random.Next(26)))]);
        var code = random.Next((int)Math.Pow(10, CodeLength)).ToString($"D{CodeLength}", CultureInfo.InvariantCulture);
        Encoding.ASCII.GetBytes(Fact(name, code), text[fact..]);
        Encoding.ASCII.GetBytes(Question(name) + code, text[question..]);
    }

    private static string Fact(string name, string code) => $"\nThe code of {name} is {code}.\n";

    private static string Question(string name) => $"\nAsked again, the code of {name} is ";
}
