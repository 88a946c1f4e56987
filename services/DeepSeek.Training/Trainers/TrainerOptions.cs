using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Training.Trainers;

public sealed class TrainerOptions
{
    public const string Section = "Trainer";

    /// <summary>The trainer's program. Default: <c>trainer/DeepSeek.Trainer.dll</c> beside the service.</summary>
    [Required]
    public string Path { get; set; } = System.IO.Path.Combine(AppContext.BaseDirectory, "trainer", "DeepSeek.Trainer.dll");

    /// <summary>Threads of one trainer. Default 0: all cores shared out evenly among the worker's slots.</summary>
    [Range(0, 1024)]
    public int Threads { get; set; }

    /// <summary>
    /// MiB that the tensors of one trainer may take in the host's memory; a run that needs more ends with what would fit. Default 0: what
    /// the machine has available when the trainer starts.
    /// </summary>
    [Range(0, 1 << 30)]
    public long MemoryMiB { get; set; }

    /// <summary>Seconds that a trainer has to checkpoint when it is asked to yield, before it is killed. Default 60.</summary>
    [Range(1, 3600)]
    public int YieldSeconds { get; set; } = 60;

    /// <summary>Days for which the folder of a failed run is kept, so that a retry resumes from its checkpoints. Default 7.</summary>
    [Range(0, 3650)]
    public double FailedFolderDays { get; set; } = 7;
}
