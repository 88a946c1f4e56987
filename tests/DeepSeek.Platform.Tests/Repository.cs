using System.Reflection;

namespace DeepSeek.Platform.Tests;

/// <summary>Where the built programs are.</summary>
internal static class Repository
{
    public static string Root { get; } = typeof(Repository).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(entry => entry.Key == "RepositoryRoot").Value!;

    public static string AppHost => Path.Combine(Root, "DeepSeek.AppHost", "bin", "Release", "net10.0", "DeepSeek.AppHost.dll");
    public static string Cli => Path.Combine(Root, "cli", "DeepSeek.Cli", "bin", "Release", "net10.0", "deepseek.dll");
    public static string Data => Path.Combine(Root, "artifacts", "data");
}
