using System.Text.RegularExpressions;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Models;

/// <summary>What models, aliases and artifacts may be called: names that are safe in addresses and as file names.</summary>
internal static partial class Names
{
    public const string Latest = "latest";

    public static void RequireModel(string name)
    {
        if (!ModelName().IsMatch(name))
            throw Problems.Invalid("name", $"'{Shorten(name)}' is not a model name: 1 to 63 lower-case letters, digits, dots and hyphens, starting and ending with a letter or digit.");
    }

    public static void RequireAlias(string alias)
    {
        if (!AliasName().IsMatch(alias))
            throw Problems.Invalid("alias", $"'{Shorten(alias)}' is not an alias: 1 to 63 lower-case letters, digits and hyphens, starting with a letter.");
        if (alias == Latest)
            throw Problems.Invalid("alias", "'latest' always means the newest version and cannot be set; choose another alias.");
    }

    public static bool IsArtifact(string name) => ArtifactName().IsMatch(name);

    public static string Shorten(string text) => text.Length <= 80 ? text : text[..80] + "…";

    [GeneratedRegex(@"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?\z")]
    private static partial Regex ModelName();

    [GeneratedRegex(@"^[a-z][a-z0-9-]{0,62}\z")]
    private static partial Regex AliasName();

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?:\.[A-Za-z0-9_-]{1,32}){1,3}\z")]
    private static partial Regex ArtifactName();
}
