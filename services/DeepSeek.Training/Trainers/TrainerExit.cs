namespace DeepSeek.Training.Trainers;

/// <summary>Exit codes of the trainer.</summary>
public enum TrainerExit
{
    Done = 0,
    BadInput = 2,

    /// <summary>Stopped behind a checkpoint, because it was asked to.</summary>
    Yielded = 75,

    /// <summary>By signal 9.</summary>
    Killed = 128 + 9,

    /// <summary>By signal 11.</summary>
    Crashed = 128 + 11,
}

public static class TrainerExitWords
{
    /// <summary>What people read of an end that the trainer did not explain itself.</summary>
    /// <param name="errors">Its last words on standard error.</param>
    public static string Describe(this TrainerExit exit, string errors)
    {
        var how = exit switch
        {
            TrainerExit.Killed => "The trainer was killed (signal 9), perhaps because memory ran out",
            TrainerExit.Crashed => "The trainer crashed (signal 11)",
            _ => $"The trainer ended with exit code {(int)exit}",
        };
        return errors.Length == 0 ? $"{how}." : $"{how}; it wrote last: {errors}";
    }
}
