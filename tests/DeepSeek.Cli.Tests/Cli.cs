using System.Diagnostics;
using System.Reflection;

namespace DeepSeek.Cli.Tests;

/// <summary>Runs the built command line client with an empty home of its own.</summary>
internal sealed class Cli : IDisposable
{
    private static readonly string s_root = typeof(Cli).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(entry => entry.Key == "RepositoryRoot").Value!;

    public string Home { get; } = Directory.CreateTempSubdirectory("deepseek-cli-").FullName;

    public string LoginFile => Path.Combine(Home, "deepseek", "login.json");

    /// <summary>Variables that the client gets besides this process's.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    public async Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments)
    {
        var program = Path.Combine(s_root, "cli", "DeepSeek.Cli", "bin", "Release", "net10.0", "deepseek.dll");
        var start = new ProcessStartInfo("dotnet", [program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Home };
        foreach (var variable in new[] { "DEEPSEEK_GATEWAY", "DEEPSEEK_API_KEY" })
        {
            start.Environment.Remove(variable);
        }

        start.Environment["XDG_CONFIG_HOME"] = Home;
        start.Environment["DEEPSEEK_DATA"] = Home;
        foreach (var (name, value) in Variables)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await error);
    }

    public void Dispose() => Directory.Delete(Home, recursive: true);
}
