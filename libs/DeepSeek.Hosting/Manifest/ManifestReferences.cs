using System.Globalization;
using System.Text.Json;

namespace Aspire.Hosting.Publishing;

/// <summary>What the manifest must hold because something in it refers to it.</summary>
internal sealed class ManifestReferences
{
    private readonly Dictionary<string, IResource> _resources = [];
    private readonly Dictionary<ParameterResource, Dictionary<string, string>> _formatted = [];
    private readonly Dictionary<string, ReferenceExpression> _conditions = [];
    private readonly HashSet<string> _names = new(StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<object> _visiting = [];

    public void Reserve(IEnumerable<string> names) => _names.UnionWith(names);

    public IResource[] Except(IEnumerable<IResource> written)
    {
        var names = written.Select(resource => resource.Name).ToHashSet();
        return [.. _resources.Values.Where(resource => !names.Contains(resource.Name))];
    }

    public void Add(object? value)
    {
        if (value is ReferenceExpression expression)
        {
            Register(expression);
        }

        if (value is IResource resource)
        {
            _resources.TryAdd(resource.Name, resource);
            _names.Add(resource.Name);
        }
        else if (value is IValueWithReferences parts && _visiting.Add(value))
        {
            foreach (var part in parts.References)
            {
                Add(part);
            }

            _visiting.Remove(value);
        }
    }

    public string Expression(object value) => value switch
    {
        ReferenceExpression { IsConditional: false } expression => Expression(expression),
        IManifestExpressionProvider provider => provider.ValueExpression,
        string text => text,
        _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? string.Empty,
    };

    public string Expression(ReferenceExpression expression)
    {
        var arguments = expression.ManifestExpressions.Select((text, i) =>
            expression.StringFormats[i] is { Length: > 0 } format && ParameterOf(expression.ValueProviders[i]) is { } parameter
                ? $"{{{NameOf(parameter, format)}.value}}"
                : text);
        return string.Format(CultureInfo.InvariantCulture, expression.Format, [.. arguments]);
    }

    public void WriteFormattedParameters(Utf8JsonWriter writer, ParameterResource parameter)
    {
        if (!_formatted.Remove(parameter, out var formats))
        {
            return;
        }

        foreach (var (format, name) in formats)
        {
            writer.WriteStartObject(name);
            writer.WriteString("type", "annotated.string");
            writer.WriteString("value", parameter.ValueExpression);
            writer.WriteString("filter", format);
            writer.WriteEndObject();
        }
    }

    public void WriteRemainingFormattedParameters(Utf8JsonWriter writer)
    {
        foreach (var parameter in _formatted.Keys.ToArray())
        {
            WriteFormattedParameters(writer, parameter);
        }
    }

    public async Task WriteConditionsAsync(Utf8JsonWriter writer, CancellationToken cancellationToken)
    {
        foreach (var (name, condition) in _conditions)
        {
            writer.WriteStartObject(name);
            writer.WriteString("type", "value.v0");
            writer.WriteString("connectionString", await condition.GetValueAsync(cancellationToken).ConfigureAwait(false) ?? string.Empty);
            writer.WriteEndObject();
        }
    }

    private void Register(ReferenceExpression expression)
    {
        foreach (var condition in expression.ValueProviders.OfType<ReferenceExpression>().Append(expression))
        {
            if (condition.ConditionalName is { } name)
            {
                _conditions.TryAdd(name, condition);
                _names.Add(name);
            }
        }

        foreach (var part in expression.IsConditional ? new[] { expression.WhenTrue!, expression.WhenFalse! } : [expression])
        {
            _ = Expression(part);
        }
    }

    private string NameOf(ParameterResource parameter, string format)
    {
        if (!_formatted.TryGetValue(parameter, out var formats))
        {
            _formatted[parameter] = formats = [];
        }

        if (!formats.TryGetValue(format, out var name))
        {
            name = $"{parameter.Name}-{format}-encoded";
            for (var twin = 1; !_names.Add(name); twin++)
            {
                name = $"{parameter.Name}-{format}-encoded-{twin}";
            }

            formats[format] = name;
        }

        return name;
    }

    private static ParameterResource? ParameterOf(object provider) => provider switch
    {
        ParameterResource parameter => parameter,
        ReferenceExpression { Format: "{0}", ValueProviders: [ParameterResource parameter] } => parameter,
        _ => null,
    };
}
