using System.Diagnostics;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.Extensions.Options;

namespace DeepSeek.Training.Trainers;

/// <summary>Starts trainer processes that cannot outlive this one.</summary>
public sealed partial class TrainerLauncher(
    IOptions<TrainerOptions> options, IOptionsMonitor<JobWorkerOptions> worker, ILogger<TrainerLauncher> logger)
{
    /// <summary>Of util-linux: has the kernel kill the child when its parent dies, even by kill -9.</summary>
    private static readonly string? SetPriv = new[] { "/usr/bin/setpriv", "/bin/setpriv" }.FirstOrDefault(File.Exists);

    /// <summary>Secrets of the service; the trainer needs none.</summary>
    private static readonly string[] Withheld = ["ConnectionStrings__", "Identity__", "services__", "OTEL_"];

    public TrainerRun Start(string folder)
    {
        var program = options.Value.Path;
        if (!File.Exists(program))
        {
            throw new FileNotFoundException($"The trainer is not at '{program}': build DeepSeek.Trainer, or set Trainer__Path.");
        }
        var start = new ProcessStartInfo
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        string[] command = [.. Wrapper(), .. Host(program), program, "--work", folder];
        start.FileName = command[0];
        foreach (var argument in command.Skip(1))
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var name in start.Environment.Keys.Where(name => Withheld.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))).ToList())
        {
            start.Environment.Remove(name);
        }
        start.Environment["DEEPSEEK_THREADS"] = $"{Threads}";
        if (options.Value.MemoryMiB > 0)
        {
            start.Environment["DEEPSEEK_MEMORY_MIB"] = $"{options.Value.MemoryMiB}";
        }
        return TrainerRun.Start(start);
    }

    private int Threads => options.Value.Threads > 0
        ? options.Value.Threads
        : Math.Max(1, Environment.ProcessorCount / worker.Get(JobKinds.Train).Slots);

    private string[] Wrapper()
    {
        if (SetPriv is not null)
        {
            return [SetPriv, "--pdeathsig", "KILL", "--"];
        }
        LogUnguarded(logger);
        return [];
    }

    /// <summary>The program by itself when it is executable, else through the runtime that runs this process.</summary>
    private static string[] Host(string program) => program.EndsWith(".dll", StringComparison.Ordinal)
        ? [Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet"]
        : [];

    [LoggerMessage(LogLevel.Warning, "setpriv (util-linux) is not installed: a trainer would outlive a killed training service.")]
    private static partial void LogUnguarded(ILogger logger);
}
