using System.Reflection;

namespace DeepSeek.Hosting.Tests;

/// <summary>Files of the repository the tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    public static string Configuration { get; } = typeof(Repository).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration;

    public static string Golden(string name) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Goldens", name));

    /// <summary>Path of a project's assembly, built in the configuration of the tests.</summary>
    public static string Assembly(string projectFolder)
    {
        var path = Path.Combine(Root, projectFolder, "bin", Configuration, "net10.0", Path.GetFileName(projectFolder) + ".dll");
        Assert.True(File.Exists(path), $"{path} is missing: dotnet build -c {Configuration} {projectFolder}");
        return path;
    }

    private static string Find()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "DeepSeek.Platform.sln")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException("The tests run outside the repository.");
        }

        return folder.FullName;
    }
}
