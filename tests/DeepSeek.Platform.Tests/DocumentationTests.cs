using System.Text.RegularExpressions;

namespace DeepSeek.Platform.Tests;

/// <summary>What the documents point to is there.</summary>
public sealed partial class DocumentationTests
{
    private static readonly string[] s_generated = ["artifacts", "bin", "obj", "node_modules", ".git"];

    [Fact]
    public void RelativeLinks_OfAllDocuments_Resolve()
    {
        var documents = Documents(new DirectoryInfo(Repository.Root)).ToList();
        Assert.Contains(documents, document => document.Name == "README.md" && document.DirectoryName == Path.TrimEndingDirectorySeparator(Repository.Root));
        var links = documents.SelectMany(document => Link().Matches(Fence().Replace(File.ReadAllText(document.FullName), "")), (document, match) => (document, Target: match.Groups[1].Value))
            .Where(link => !link.Target.Contains("://", StringComparison.Ordinal) && !link.Target.StartsWith('#')).ToList();

        Assert.NotEmpty(links);
        Assert.Empty(links.Where(link => !Path.Exists(Path.Combine(link.document.DirectoryName!, Uri.UnescapeDataString(link.Target.Split('#')[0]))))
            .Select(link => $"{Path.GetRelativePath(Repository.Root, link.document.FullName)} → {link.Target}"));
    }

    private static IEnumerable<FileInfo> Documents(DirectoryInfo folder) =>
        folder.EnumerateFiles("*.md").Concat(folder.EnumerateDirectories().Where(below => !s_generated.Contains(below.Name)).SelectMany(Documents));

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    /// <summary>Code is no text.</summary>
    [GeneratedRegex("```.*?```|`[^`\n]*`", RegexOptions.Singleline)]
    private static partial Regex Fence();
}
