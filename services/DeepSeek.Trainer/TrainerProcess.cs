using DeepSeek.Engine.Native;
using DeepSeek.Onnx;

namespace DeepSeek.Trainer;

/// <summary>How the process ends; the numbers are its exit codes.</summary>
internal enum TrainerExit
{
    /// <summary>The output folder holds the trained model.</summary>
    Done = 0,
    /// <summary>A fault of the machine or the program: trying again may help.</summary>
    Fault = 1,
    /// <summary>The spec or the data cannot be trained on: trying again does not help.</summary>
    BadInput = 2,
    /// <summary>Stopped on request behind a checkpoint (EX_TEMPFAIL of sysexits.h); starting again continues.</summary>
    Yielded = 75,
}

/// <summary>Input that cannot be trained on, by field.</summary>
internal sealed class BadInputException(IReadOnlyDictionary<string, string[]> errors)
    : Exception(string.Join(" ", errors.Select(e => e.Key.Length == 0 ? string.Join(" ", e.Value) : $"{e.Key}: {string.Join(" ", e.Value)}")))
{
    internal BadInputException(string field, string message) : this(new Dictionary<string, string[]> { [field] = [message] }) { }

    internal IReadOnlyDictionary<string, string[]> Errors { get; } = errors;
}

/// <summary>Runs a training to its end and turns faults into events and exit codes.</summary>
internal static class TrainerProcess
{
    private static readonly TimeSpan s_lockPatience = TimeSpan.FromSeconds(30);

    internal static TrainerExit Run(WorkFolder folder, TrainerEvents events, StopSignal stop, TimeSpan? lockPatience = null)
    {
        try
        {
            using var guard = folder.Lock(lockPatience ?? s_lockPatience);
            var plan = TrainingPlan.Load(folder);
            MemoryAdvice.Limit(HostMemory.Limit());
            using var run = new TrainingRun(plan, Machine.Read(), folder, events, stop);
            return run.Execute();
        }
        catch (BadInputException fault)
        {
            events.Error(fault.Message, fault.Errors);
            return TrainerExit.BadInput;
        }
        catch (Exception fault) when (fault is InvalidDataException or InvalidOnnxException)
        {
            events.Error(fault.Message, new Dictionary<string, string[]> { ["dataset"] = [fault.Message] });
            return TrainerExit.BadInput;
        }
        catch (Exception fault) when (fault is NativeException or DllNotFoundException or IOException or UnauthorizedAccessException)
        {
            events.Error(fault.Message, null);
            return TrainerExit.Fault;
        }
        finally
        {
            MemoryAdvice.Limit(0);
        }
    }
}
