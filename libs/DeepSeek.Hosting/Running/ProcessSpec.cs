namespace Aspire.Hosting;

/// <summary>A process to start.</summary>
internal sealed record ProcessSpec(string FileName, IReadOnlyList<string> Arguments, string WorkingDirectory)
{
    /// <summary>Variables it gets beside those of the host; null takes one away.</summary>
    public IReadOnlyDictionary<string, string?> Environment { get; init; } = new Dictionary<string, string?>();

    /// <summary>The user it runs as; null: the host's.</summary>
    public string? User { get; init; }

    /// <summary>Text for its standard input, which is otherwise empty.</summary>
    public string? Input { get; init; }

    /// <summary>What asks it to stop.</summary>
    public int StopSignal { get; init; } = Signals.Terminate;

    /// <summary>Whether its children are asked to stop at the same time.</summary>
    public bool StopsChildren { get; init; } = true;
}
