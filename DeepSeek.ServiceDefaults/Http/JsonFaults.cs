using System.Text.Json;
using System.Text.RegularExpressions;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Says what a JsonException found, by field, without the names of our types.</summary>
public static partial class JsonFaults
{
    public static ApiProblem ToProblem(JsonException fault)
    {
        var field = Field(fault.Path);
        if (Missing().Match(fault.Message) is { Success: true } missing)
        {
            var prefix = field == "body" ? "" : field + ".";
            return Problems.Invalid(Quoted().Matches(missing.Groups[1].Value)
                .ToDictionary(name => prefix + name.Groups[1].Value, _ => new[] { "is required." }));
        }

        if (Unmapped().Match(fault.Message) is { Success: true } unmapped)
        {
            var name = unmapped.Groups[1].Value;
            var path = field == name || field.EndsWith('.' + name) ? field : field == "body" ? name : $"{field}.{name}";
            return Problems.Invalid(path, "is not a member of this document; remove it or correct its name.");
        }

        if (fault.Message.StartsWith(NullElements.Opening, StringComparison.Ordinal) && Quoted().Match(fault.Message) is { Success: true } list)
        {
            var name = list.Groups[1].Value;
            return Problems.Invalid(field == "body" ? name : field.EndsWith(name, StringComparison.Ordinal) ? field : $"{field}.{name}", "must not have null elements.");
        }

        return Problems.Invalid(field, Reason(fault));
    }

    private static string Reason(JsonException fault)
    {
        var line = fault.LineNumber is { } number ? $" (line {number + 1}, byte {fault.BytePositionInLine + 1})" : "";
        if (fault.Message.Contains("maximum configured depth", StringComparison.Ordinal))
        {
            return $"is nested deeper than {PlatformJson.MaxDepth} levels{line}; flatten it.";
        }

        if (fault.Message.Contains("doesn't allow setting null", StringComparison.Ordinal))
        {
            return "must not be null.";
        }

        if (fault.Message.StartsWith("Duplicate propert", StringComparison.Ordinal))
        {
            return $"occurs twice in the same object{line}; keep one.";
        }

        if (fault.Message.Contains("could not be converted", StringComparison.Ordinal))
        {
            return $"has the wrong type or a value that is not allowed{line}; see the schema in the OpenAPI document.";
        }

        if (fault.Message.Contains(FiniteNumbers.Refusal, StringComparison.Ordinal))
        {
            return $"{FiniteNumbers.Refusal}{line}.";
        }

        var text = fault.Message;
        var tail = text.IndexOf(" Path: ", StringComparison.Ordinal);
        tail = tail < 0 ? text.IndexOf(" LineNumber: ", StringComparison.Ordinal) : tail;
        return $"is not readable JSON{line}: {(tail < 0 ? text : text[..tail])}";
    }

    private static string Field(string? path) => path switch
    {
        null or "" or "$" => "body",
        _ when path.StartsWith("$.", StringComparison.Ordinal) => path[2..],
        _ => path[1..],
    };

    [GeneratedRegex("missing required properties including: (.+)$", RegexOptions.Singleline)]
    private static partial Regex Missing();

    [GeneratedRegex("'([^']+)'")]
    private static partial Regex Quoted();

    [GeneratedRegex("^The JSON property '(.+)' could not be mapped")]
    private static partial Regex Unmapped();
}
