using System.Collections;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Refuses null elements in lists and dictionaries of non-null ones: the serializer looks at the nullability of members only.</summary>
internal static class NullElements
{
    internal const string Refusal = "' has a null element.";
    internal const string Opening = "The list '";

    /// <summary>To be added to a type resolver.</summary>
    internal static void Refuse(JsonTypeInfo type)
    {
        if (type.Kind != JsonTypeInfoKind.Object)
        {
            return;
        }

        var nullability = new NullabilityInfoContext();
        var lists = type.Properties.Where(property => property.Get is not null && HoldsNonNull(property, nullability)).ToArray();
        if (lists.Length == 0)
        {
            return;
        }

        var next = type.OnDeserialized;
        type.OnDeserialized = made =>
        {
            foreach (var list in lists)
            {
                if (HasNull(list.Get!(made)))
                {
                    throw new JsonException(Opening + list.Name + Refusal);
                }
            }

            next?.Invoke(made);
        };
    }

    private static bool HoldsNonNull(JsonPropertyInfo property, NullabilityInfoContext nullability)
    {
        if (property.PropertyType == typeof(string) || !typeof(IEnumerable).IsAssignableFrom(property.PropertyType)
            || property.AttributeProvider is not PropertyInfo member)
        {
            return false;
        }

        var info = nullability.Create(member);
        var element = info.ElementType ?? info.GenericTypeArguments.LastOrDefault();
        return element is { ReadState: NullabilityState.NotNull } && !element.Type.IsValueType;
    }

    private static bool HasNull(object? list) => list switch
    {
        IDictionary dictionary => dictionary.Values.Cast<object?>().Contains(null),
        IEnumerable elements => elements.Cast<object?>().Contains(null),
        _ => false,
    };
}
