using System.Diagnostics;
using System.Text.Json;
using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>What a trainer said and how it ended.</summary>
internal sealed record TrainerResult(int ExitCode, IReadOnlyList<JsonElement> Events)
{
    public IEnumerable<JsonElement> Of(string kind) => Events.Where(e => e.GetProperty("event").GetString() == kind);

    public static TrainerResult Parse(int exitCode, IEnumerable<string> lines) => new(exitCode, [.. lines.Where(l => l.Length > 0).Select(l => JsonDocument.Parse(l).RootElement)]);
}

/// <summary>Runs the trainer in this process or as a process of its own.</summary>
internal static class TrainerRunner
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromMinutes(3);

    public static TrainerResult Run(TrainerFolder folder, StopSignal? stop = null)
    {
        var output = new StringWriter();
        using var own = stop ?? new StopSignal();
        var exit = TrainerProcess.Run(new WorkFolder(folder.Root), new TrainerEvents(output), own);
        return TrainerResult.Parse((int)exit, output.ToString().Split('\n'));
    }

    public static Process Start(TrainerFolder folder, bool emulatesFp8 = false)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "DeepSeek.Trainer.dll"), "--work", folder.Root])
        {
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
            Environment = { ["DEEPSEEK_EMULATE_FP8"] = emulatesFp8 ? "1" : "0" },
        };
        return Process.Start(start)!;
    }

    /// <summary>Lets the process run to its end.</summary>
    public static TrainerResult Finish(Process process)
    {
        using var watchdog = new CancellationTokenSource(s_deadline);
        using var kill = watchdog.Token.Register(() => process.Kill());
        var lines = process.StandardOutput.ReadToEnd().Split('\n');
        process.WaitForExit();
        return TrainerResult.Parse(process.ExitCode, lines);
    }

    /// <summary>Reads until so many events of a kind have come.</summary>
    public static void Await(Process process, string kind, int count)
    {
        using var watchdog = new CancellationTokenSource(s_deadline);
        using var kill = watchdog.Token.Register(() => process.Kill());
        while (count > 0 && process.StandardOutput.ReadLine() is { } line)
        {
            count -= JsonDocument.Parse(line).RootElement.GetProperty("event").GetString() == kind ? 1 : 0;
        }
        Assert.Equal(0, count);
    }
}
