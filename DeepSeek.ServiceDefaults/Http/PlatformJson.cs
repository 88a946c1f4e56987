using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using DeepSeek.ServiceDefaults.Http;

namespace DeepSeek.ServiceDefaults;

/// <summary>JSON as the platform speaks it: camelCase, enums as camelCase strings, depth 64.</summary>
public static class PlatformJson
{
    public const int MaxDepth = 64;

    /// <summary>For writing, and for reading what another part of the platform wrote: unknown members are skipped so that messages can grow.</summary>
    public static JsonSerializerOptions Options { get; } = Configure(new JsonSerializerOptions(JsonSerializerDefaults.Web));

    /// <summary>For reading what a client sent: unknown and duplicate members, numbers in strings, infinities and nulls in non-null places are refused.</summary>
    public static JsonSerializerOptions Strict { get; } = MakeStrict(Configure(new JsonSerializerOptions(JsonSerializerDefaults.Web)));

    internal static JsonSerializerOptions Configure(JsonSerializerOptions options)
    {
        options.MaxDepth = MaxDepth;
        options.Converters.Add(new JsonStringEnumConverter(JsonNamingPolicy.CamelCase, allowIntegerValues: false));
        return options;
    }

    internal static JsonSerializerOptions MakeStrict(JsonSerializerOptions options)
    {
        options.Converters.Add(new FiniteNumbers.Double());
        options.Converters.Add(new FiniteNumbers.Single());
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.AllowDuplicateProperties = false;
        options.NumberHandling = JsonNumberHandling.Strict;
        options.RespectNullableAnnotations = true;
        options.RespectRequiredConstructorParameters = true;
        options.TypeInfoResolver = (options.TypeInfoResolver ?? new DefaultJsonTypeInfoResolver()).WithAddedModifier(NullElements.Refuse);
        return options;
    }
}
