using System.Text.Json;
using System.Text.Json.Nodes;

namespace DeepSeek.Gateway.OpenApi;

/// <summary>Joins OpenAPI documents: paths side by side, equal schemas once, different schemas of one name under a name per service.</summary>
internal sealed class OpenApiMerge
{
    private const string SchemaReference = "#/components/schemas/";
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private readonly JsonObject _paths = [];
    private readonly JsonObject _schemas = [];
    private readonly JsonArray _tags = [];
    private readonly HashSet<string> _operationIds = [];

    public void Add(string service, JsonObject document)
    {
        document = (JsonObject)document.DeepClone();
        AddSchemas(service, document);
        _tags.Add(new JsonObject { ["name"] = service });
        foreach (var (path, item) in (document["paths"] as JsonObject ?? []).ToList())
        {
            if (item is not JsonObject operations || !(path.StartsWith("/api/", StringComparison.Ordinal) || path.StartsWith("/v2", StringComparison.Ordinal)))
            {
                continue;
            }

            foreach (var operation in operations.Select(entry => entry.Value).OfType<JsonObject>().Where(operation => operation.ContainsKey("responses")))
            {
                operation["tags"] = new JsonArray(service);
                if (operation["operationId"]?.GetValue<string>() is { } id && !_operationIds.Add(id))
                {
                    operation["operationId"] = $"{service}_{id}";
                }
            }

            _paths.TryAdd(path, operations.DeepClone());
        }
    }

    /// <param name="stale">Services that did not answer now.</param>
    /// <param name="absent">Those of them of which nothing is known, so that their paths are missing.</param>
    public string ToJson(IReadOnlyList<string> stale, IReadOnlyList<string> absent)
    {
        var description = absent.Count == 0 ? "" : $" Missing now, because they do not answer: {string.Join(", ", absent)}.";
        return new JsonObject
        {
            ["openapi"] = "3.1.1",
            ["info"] = new JsonObject
            {
                ["title"] = "DeepSeek Platform",
                ["version"] = "v1",
                ["description"] = "Everything the gateway offers. Errors are problem documents (RFC 9457)." + description,
            },
            ["x-unavailable"] = new JsonArray([.. stale.Select(service => JsonValue.Create(service))]),
            ["tags"] = _tags,
            ["paths"] = _paths,
            ["components"] = new JsonObject
            {
                ["schemas"] = _schemas,
                ["securitySchemes"] = new JsonObject
                {
                    ["bearer"] = new JsonObject { ["type"] = "http", ["scheme"] = "bearer" },
                    ["apiKey"] = new JsonObject { ["type"] = "apiKey", ["in"] = "header", ["name"] = "X-Api-Key" },
                },
            },
            ["security"] = new JsonArray(new JsonObject { ["bearer"] = new JsonArray() }, new JsonObject { ["apiKey"] = new JsonArray() }),
        }.ToJsonString(s_indented);
    }

    private void AddSchemas(string service, JsonObject document)
    {
        if (document["components"]?["schemas"] is not JsonObject schemas)
        {
            return;
        }

        var renamed = schemas.Where(schema => _schemas.TryGetPropertyValue(schema.Key, out var other) && !JsonNode.DeepEquals(schema.Value, other))
            .Select(schema => schema.Key).ToHashSet();
        // A schema that looks the same but refers to a renamed one is a different schema.
        for (var found = true; found;)
        {
            found = schemas.Where(schema => _schemas.ContainsKey(schema.Key) && References(schema.Value).Any(renamed.Contains))
                .Count(schema => renamed.Add(schema.Key)) > 0;
        }

        Rename(document, renamed.ToDictionary(name => name, name => char.ToUpperInvariant(service[0]) + service[1..] + name));
        foreach (var (name, schema) in schemas)
        {
            _schemas.TryAdd(renamed.Contains(name) ? char.ToUpperInvariant(service[0]) + service[1..] + name : name, schema!.DeepClone());
        }
    }

    private static IEnumerable<string> References(JsonNode? node) => node switch
    {
        JsonObject thing => thing.SelectMany(member => member is { Key: "$ref", Value: JsonValue value } && value.TryGetValue<string>(out var target)
            ? [target.Replace(SchemaReference, "", StringComparison.Ordinal)]
            : References(member.Value)),
        JsonArray list => list.SelectMany(References),
        _ => [],
    };

    private static void Rename(JsonNode? node, IReadOnlyDictionary<string, string> names)
    {
        switch (node)
        {
            case JsonObject thing:
                foreach (var (key, value) in thing.ToList())
                {
                    if (key == "$ref" && value is JsonValue text && text.TryGetValue<string>(out var target)
                        && target.StartsWith(SchemaReference, StringComparison.Ordinal)
                        && names.TryGetValue(target[SchemaReference.Length..], out var name))
                    {
                        thing[key] = SchemaReference + name;
                    }
                    else
                    {
                        Rename(value, names);
                    }
                }

                break;
            case JsonArray list:
                foreach (var item in list)
                {
                    Rename(item, names);
                }

                break;
        }
    }
}
