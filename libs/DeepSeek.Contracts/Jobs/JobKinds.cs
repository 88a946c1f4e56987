namespace DeepSeek.Contracts.Jobs;

/// <summary>The kinds of work that exist; a kind has one queue and the workers that listen to it.</summary>
public static class JobKinds
{
    public const string Prepare = "prepare";
    public const string Train = "train";
    public const string Compress = "compress";
    public const string Explain = "explain";

    /// <summary>Every kind, in the order in which the work flows.</summary>
    public static IReadOnlyList<string> All { get; } = [Prepare, Train, Compress, Explain];

    /// <summary>The queue from which workers of <paramref name="kind"/> take <see cref="RunJob"/>.</summary>
    public static string Queue(string kind) => $"deepseek-{kind}";
}
