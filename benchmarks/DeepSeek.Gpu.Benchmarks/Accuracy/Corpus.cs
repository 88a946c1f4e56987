namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>A folder that benchmarks/gpu/corpus.py wrote; its bytes are the tokens.</summary>
internal sealed class Corpus
{
    private readonly byte[] _train;
    private readonly byte[] _valid;

    internal Corpus(string folder)
    {
        _train = File.ReadAllBytes(Path.Combine(folder, "train.txt"));
        _valid = File.ReadAllBytes(Path.Combine(folder, "valid.txt"));
    }

    /// <summary>Bytes to train on.</summary>
    internal long TrainBytes => _train.Length;

    /// <summary>Words of a text in <see cref="Validation"/>'s windows per byte: what turns a loss per byte into one per word.</summary>
    internal double WordsPerByte(int windows, int length)
    {
        var text = _valid.AsSpan(0, Math.Min(_valid.Length, windows * length));
        var words = 0;
        for (var i = 1; i < text.Length; i++)
        {
            words += text[i - 1] <= (byte)' ' && text[i] > (byte)' ' ? 1 : 0;
        }
        return words / (double)text.Length;
    }

    /// <summary>A copy of <paramref name="length"/> bytes from anywhere in the training text.</summary>
    internal byte[] Sample(System.Random random, int length) => _train.AsSpan(random.Next(Longest(_train, length)), length).ToArray();

    /// <summary>The n-th window of the validation text; neighbours share one byte, the last target of one and the first input of the next.</summary>
    internal byte[] Validation(int n, int length) => _valid.AsSpan(n * (length - 1), length).ToArray();

    /// <summary>How many windows there are.</summary>
    internal int ValidationWindows(int length) => (_valid.Length - 1) / (length - 1);

    private static int Longest(byte[] text, int length) => text.Length - length is > 0 and var starts
        ? starts
        : throw new ArgumentException($"The corpus has {text.Length} bytes; windows of {length} need more.");
}
