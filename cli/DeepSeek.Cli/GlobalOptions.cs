using System.CommandLine;
using System.CommandLine.Parsing;

namespace DeepSeek.Cli;

/// <summary>Options every command takes.</summary>
internal static class GlobalOptions
{
    public static readonly Option<bool> Json = new("--json") { Description = "Print machine-readable JSON and nothing else on standard output.", Recursive = true };

    public static readonly Option<Uri?> Gateway = new("--gateway")
    {
        Description = "Gateway address; default: $DEEPSEEK_GATEWAY, else the one logged in to, else that of the platform running on this machine, else http://localhost:5080.",
        Recursive = true,
        CustomParser = ParseAddress,
    };

    public static readonly Option<string?> Key = new("--key") { Description = "API key; default: $DEEPSEEK_API_KEY, else the one logged in with, else the first admin key of the platform running on this machine.", Recursive = true };

    public static readonly Option<bool> Local = new("--local") { Description = "Use the platform running on this machine, whatever the environment and the login say.", Recursive = true };

    /// <summary>The login that these options, the environment, the store and this machine give.</summary>
    public static Login LoginOf(ParseResult arguments) => Login.Resolve(arguments.GetValue(Gateway), arguments.GetValue(Key), arguments.GetValue(Local));

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
