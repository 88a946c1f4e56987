using System.CommandLine;

namespace DeepSeek.Cli;

/// <summary>Options every command takes.</summary>
internal static class GlobalOptions
{
    public static readonly Option<bool> Json = new("--json") { Description = "Print machine-readable JSON and nothing else on standard output.", Recursive = true };
    public static readonly Option<Uri?> Gateway = new("--gateway") { Description = "Gateway address; default: the one logged in to, else http://localhost:5080 ($DEEPSEEK_GATEWAY).", Recursive = true };
    public static readonly Option<string?> Key = new("--key") { Description = "API key; default: the one logged in with ($DEEPSEEK_API_KEY).", Recursive = true };
}
