using System.Text.Json;
using System.Text.RegularExpressions;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Says which parameter could not be bound; the framework puts it into its message's words only.</summary>
internal static partial class BindingFaults
{
    public static ApiProblem ToProblem(BadHttpRequestException fault)
    {
        if (Unreadable().Match(fault.Message) is { Success: true } unreadable)
        {
            return Problems.Invalid(Name(unreadable), $"'{unreadable.Groups["value"].Value}' cannot be read as {Kind(unreadable.Groups["type"].Value)}.");
        }

        if (fault.Message.Contains("no body was provided", StringComparison.Ordinal))
        {
            return Problems.Invalid("body", "is required.");
        }

        return Absent().Match(fault.Message) is { Success: true } absent
            ? Problems.Invalid(Name(absent), $"is required ({absent.Groups["source"].Value}).")
            : new ApiProblem(fault.StatusCode, "The request is not valid", fault.Message);
    }

    private static string Name(Match match) => JsonNamingPolicy.CamelCase.ConvertName(match.Groups["name"].Value);

    private static string Kind(string type) => Inner().Replace(type, "$1") switch
    {
        "int" or "long" or "short" or "byte" or "Int32" or "Int64" => "a whole number in range",
        "double" or "float" or "decimal" => "a number",
        "Guid" => "an id",
        "bool" => "true or false",
        "DateTimeOffset" or "DateTime" => "a date and time",
        _ => "one of its values",
    };

    [GeneratedRegex("^Failed to bind parameter \"(?<type>.+) (?<name>\\S+)\" from \"(?<value>.*)\"\\.$", RegexOptions.Singleline)]
    private static partial Regex Unreadable();

    [GeneratedRegex("^Required parameter \"(?<type>.+) (?<name>\\S+)\" was not provided from (?<source>.+)\\.$")]
    private static partial Regex Absent();

    [GeneratedRegex("^Nullable<(.+)>$")]
    private static partial Regex Inner();
}
