using System.Xml.Linq;

namespace Aspire.Hosting;

/// <summary>Finds what a project was built into. Nothing is built when the application starts.</summary>
internal static class ProjectOutput
{
    /// <summary>The dotnet command of the runtime this host runs on.</summary>
    public static string DotnetPath { get; } = FindDotnet();

    /// <summary>Path of the project's assembly in bin/&lt;configuration&gt;/&lt;framework&gt;; the latest if there are several.</summary>
    public static string Find(string projectPath, string configuration)
    {
        if (!File.Exists(projectPath))
        {
            throw new DistributedApplicationException($"Project file '{projectPath}' was not found.");
        }

        var assembly = $"{AssemblyName(projectPath)}.dll";
        var folder = Path.Combine(Path.GetDirectoryName(projectPath)!, "bin", configuration);
        var built = !Directory.Exists(folder) ? null : Directory.EnumerateDirectories(folder, "net*")
            .Select(framework => Path.Combine(framework, assembly))
            .Where(path => File.Exists(path) && File.Exists(Path.ChangeExtension(path, ".runtimeconfig.json")))
            .MaxBy(File.GetLastWriteTimeUtc);
        return built ?? throw new DistributedApplicationException($"{assembly} was not found under {folder}. Build it first: dotnet build -c {configuration} {projectPath}");
    }

    private static string AssemblyName(string projectPath)
        => XDocument.Load(projectPath).Descendants().FirstOrDefault(element => element.Name.LocalName == "AssemblyName")?.Value.Trim() is { Length: > 0 } name
            ? name : Path.GetFileNameWithoutExtension(projectPath);

    private static string FindDotnet()
    {
        // <root>/shared/Microsoft.NETCore.App/<version>/System.Private.CoreLib.dll
        var root = Path.GetFullPath("../../..", Path.GetDirectoryName(typeof(object).Assembly.Location)!);
        var beside = Path.Combine(root, "dotnet");
        return File.Exists(beside) ? beside : ServerPrograms.Find("dotnet") ?? throw new DistributedApplicationException("The dotnet command was not found.");
    }
}
