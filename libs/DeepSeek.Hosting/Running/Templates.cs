using System.Globalization;
using System.Text.RegularExpressions;

namespace Aspire.Hosting;

/// <summary>Puts what only one process knows into its environment and arguments: its own ports, its own name.</summary>
internal static partial class Templates
{
    public static string Expand(string text, Replica replica)
        => text.Contains("{{", StringComparison.Ordinal)
            ? PortForServing().Replace(text, match => replica.Ports.TryGetValue(match.Groups[1].Value, out var port)
                    ? port.ToString(CultureInfo.InvariantCulture)
                    : throw new DistributedApplicationException($"Resource '{replica.Resource.Name}' refers to its own port of '{match.Groups[1].Value}', which it does not have."))
                .Replace(TelemetryVariables.InstanceTemplate, replica.Suffix, StringComparison.Ordinal)
                .Replace(TelemetryVariables.NameTemplate, replica.Resource.Name, StringComparison.Ordinal)
            : text;

    [GeneratedRegex("""\{\{-?\s*portForServing\s+"([^"]+)"\s*-?\}\}""")]
    private static partial Regex PortForServing();
}
