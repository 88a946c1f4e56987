using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DeepSeek.Cli.Commands;

/// <summary>An option that overrides one member of a run spec; the service checks the value.</summary>
internal sealed class SpecOption
{
    private readonly string[] _path;

    /// <param name="name">Name of the option without its dashes.</param>
    /// <param name="description">What it does.</param>
    /// <param name="path">Dotted path of the member; by default the option's name.</param>
    public SpecOption(string name, string description, string? path = null)
    {
        _path = (path ?? name).Split('.');
        Option = new Option<string?>($"--{name}") { Description = description };
    }

    public Option<string?> Option { get; }

    /// <summary>Puts the given value, if any, into the spec. Another optimiser's own settings do not suit the new one and are dropped.</summary>
    public void Override(Dictionary<string, JsonElement> spec, ParseResult arguments)
    {
        if (arguments.GetValue(Option) is not { } text)
        {
            return;
        }
        JsonNode value = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)
            ? (number == Math.Floor(number) && Math.Abs(number) < int.MaxValue ? JsonValue.Create((int)number) : JsonValue.Create(number))
            : JsonValue.Create(text);
        if (_path is [var member])
        {
            spec[member] = JsonSerializer.SerializeToElement(value);
            return;
        }
        var parent = spec.TryGetValue(_path[0], out var present) && present.ValueKind == JsonValueKind.Object ? JsonObject.Create(present)! : [];
        if (_path is ["optimizer", "name"] && !Same(parent["name"], text))
        {
            var rate = parent["learningRate"]?.DeepClone();
            var decay = parent["weightDecay"]?.DeepClone();
            parent = [];
            Keep(parent, "learningRate", rate);
            Keep(parent, "weightDecay", decay);
        }
        parent[_path[1]] = value;
        spec[_path[0]] = JsonSerializer.SerializeToElement(parent);
    }

    // A spec without a name means adamW.
    private static bool Same(JsonNode? name, string text) => (name?.GetValue<string>() ?? "adamW") == text;

    private static void Keep(JsonObject parent, string name, JsonNode? value)
    {
        if (value is not null)
        {
            parent[name] = value;
        }
    }
}
