using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Inference;

/// <summary>Configuration section <c>Inference</c>.</summary>
public sealed class InferenceOptions
{
    public const string Section = "Inference";

    /// <summary>Threads one execution uses; default 1, 1 to 64. Several models and replicas share the machine: more seldom pays for small models.</summary>
    [Range(1, 64)]
    public int IntraOpThreads { get; set; } = 1;

    /// <summary>Largest request body, after decompression, in bytes; default 64 MiB, 1 KiB to 1 GiB.</summary>
    [Range(1 << 10, 1 << 30)]
    public int MaxRequestBytes { get; set; } = 64 << 20;

    /// <summary>Seconds between two comparisons with the database and the registry when no event asks for one; default 10, 1 to 600.</summary>
    [Range(1, 600)]
    public int PollSeconds { get; set; } = 10;

    /// <summary>Seconds a change of a deployment waits for all living replicas to follow before it answers 202; default 10, 0 to 60.</summary>
    [Range(0, 60)]
    public int ChangeWaitSeconds { get; set; } = 10;

    /// <summary>Seconds a reader of a deployment waits to hear where its alias points, before what was known last is told; default 2, 1 to 60.</summary>
    [Range(1, 60)]
    public int ResolveWaitSeconds { get; set; } = 2;

    /// <summary>Seconds a request waits for a deployment that this replica is still loading; default 10, 0 to 60.</summary>
    [Range(0, 60)]
    public int LoadWaitSeconds { get; set; } = 10;

    /// <summary>Memory for the keys and values of all texts that this replica is writing, in MiB; default 1024, 1 to 1048576. More texts are refused with 429.</summary>
    [Range(1, 1 << 20)]
    public int GenerationCacheMiB { get; set; } = 1024;

    /// <summary>Days a prediction's log entry is kept; default 90, 1 to 3650. Its lineage does not need the entry.</summary>
    [Range(1, 3650)]
    public int PredictionRetentionDays { get; set; } = 90;

    /// <summary>Log entries held while the database is slow or away; default 16384, 1 to 1048576. More are counted and dropped.</summary>
    [Range(1, 1 << 20)]
    public int PredictionLogCapacity { get; set; } = 16_384;
}
