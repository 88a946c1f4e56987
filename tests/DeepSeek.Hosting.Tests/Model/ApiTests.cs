using System.Reflection;
using System.Text.RegularExpressions;

namespace DeepSeek.Hosting.Tests;

/// <summary>The library's API against the list of Aspire's (Goldens/aspire-api.txt).</summary>
public sealed partial class ApiTests
{
    // Aspire has these too; the list holds what an AppHost typically calls.
    private static readonly string[] NotListed =
    [
        "ResourceExtensions.TryGetLastAnnotation", "ResourceExtensions.TryGetAnnotationsOfType", "ResourceExtensions.HasAnnotationOfType",
        "ResourceExtensions.GetEndpoints", "ResourceExtensions.GetReplicaCount", "ResourceExtensions.IsExcludedFromPublish",
        "DistributedApplicationEventingExtensions.OnConnectionStringAvailable", "ParameterResourceBuilderExtensions.CreateDefaultPasswordParameter",
    ];

    private static readonly HashSet<string> Listed = [.. Repository.Golden("aspire-api.txt").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Normalize)];

    public static TheoryData<string> ExtensionClasses => [.. typeof(DistributedApplication).Assembly.GetExportedTypes()
        .Where(type => type is { IsAbstract: true, IsSealed: true } && type.Name.EndsWith("Extensions", StringComparison.Ordinal)).Select(type => type.FullName!)];

    [Theory]
    [MemberData(nameof(ExtensionClasses))]
    public void ExtensionMethods_AreAspires_NameForName(string type)
    {
        var strangers = typeof(DistributedApplication).Assembly.GetType(type)!.GetMethods(BindingFlags.Public | BindingFlags.Static)
            .Where(method => !NotListed.Contains($"{method.DeclaringType!.Name}.{method.Name}"))
            .Select(method => Normalize($"{type}: static {Name(method.ReturnType)} {method.Name}{TypeParameters(method)}({string.Join(", ", method.GetParameters().Select(Parameter))})"))
            .Where(signature => !Listed.Contains(signature));

        Assert.Empty(strangers);
    }

    [Fact]
    public void AppHost_CallsOnlyMembersOfAspire()
    {
        var source = File.ReadAllText(Path.Combine(Repository.Root, "DeepSeek.AppHost", "AppHost.cs"));
        var called = Call().Matches(source).Select(match => match.Groups[1].Value).Distinct().ToArray();
        var known = Repository.Golden("aspire-api.txt");

        Assert.NotEmpty(called);
        Assert.All(called, name => Assert.Matches($@"\b{name}\b", known));
    }

    // Nullability, defaults, constraints and attributes are not part of how a call is written.
    private static string Normalize(string signature)
    {
        var text = Regex.Replace(signature.Trim(), @" where .*$| \[[^\]]*\]$", string.Empty);
        text = Regex.Replace(text, @" where .*$", string.Empty);
        text = Regex.Replace(text, @" = (?:[^,()""]+|""[^""]*"")(?=[,)])", string.Empty);
        return Regex.Replace(text, @"\b(?:params|this|ref|in) |\?", string.Empty);
    }

    private static string Parameter(ParameterInfo parameter) => $"{Name(parameter.ParameterType)} {parameter.Name}";

    private static string TypeParameters(MethodInfo method) => method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(Name))}>" : string.Empty;

    private static string Name(Type type) => type switch
    {
        { IsByRef: true } => Name(type.GetElementType()!),
        { IsArray: true } => $"{Name(type.GetElementType()!)}[]",
        _ when Nullable.GetUnderlyingType(type) is { } underlying => Name(underlying),
        { IsGenericParameter: true } => type.Name,
        { IsNested: true } => $"{Name(type.DeclaringType!)}.{type.Name}",
        { IsGenericType: true } => $"{type.Name[..type.Name.IndexOf('`')]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>",
        _ => type.Name switch
        {
            "String" => "string",
            "Int32" => "int",
            "Int64" => "long",
            "Boolean" => "bool",
            "Object" => "object",
            var name => name,
        },
    };

    [GeneratedRegex(@"\.(\w+)(?:<[\w.]+>)?\(")]
    private static partial Regex Call();
}
