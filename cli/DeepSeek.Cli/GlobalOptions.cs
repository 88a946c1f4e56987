using System.CommandLine;
using System.CommandLine.Parsing;

namespace DeepSeek.Cli;

/// <summary>Options every command takes.</summary>
internal static class GlobalOptions
{
    public static readonly Option<bool> Json = new("--json") { Description = "Print machine-readable JSON and nothing else on standard output.", Recursive = true };

    public static readonly Option<Uri?> Gateway = new("--gateway")
    {
        Description = "Gateway address; default: the one logged in to, else http://localhost:5080 ($DEEPSEEK_GATEWAY).",
        Recursive = true,
        CustomParser = ParseAddress,
    };

    public static readonly Option<string?> Key = new("--key") { Description = "API key; default: the one logged in with ($DEEPSEEK_API_KEY).", Recursive = true };

    private static Uri? ParseAddress(ArgumentResult result)
    {
        if (result.Tokens is [var token] && Login.TryAddress(token.Value) is { } address)
        {
            return address;
        }

        result.AddError($"--gateway takes an address such as http://localhost:5080, not '{string.Join(' ', result.Tokens)}'.");
        return null;
    }
}
