using Microsoft.Extensions.Configuration;

namespace Aspire.Hosting.Publishing;

/// <summary>What the command line says about publishing.</summary>
internal static class PublishingOptions
{
    public static DistributedApplicationOperation OperationOf(IConfiguration configuration)
        => string.Equals(configuration["operation"] ?? configuration["AppHost:Operation"], "publish", StringComparison.OrdinalIgnoreCase) || Publisher(configuration) is not null
            ? DistributedApplicationOperation.Publish
            : DistributedApplicationOperation.Run;

    public static string? Publisher(IConfiguration configuration) => configuration["publisher"] ?? configuration["Publishing:Publisher"];

    /// <summary>The manifest's path: as given if it names a .json file, else aspire-manifest.json in that folder.</summary>
    public static string ManifestPath(IConfiguration configuration)
    {
        var output = configuration["output-path"] ?? configuration["Publishing:OutputPath"]
            ?? throw new DistributedApplicationException("The '--output-path [path]' option was not specified.");
        return Path.GetFullPath(output.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? output : Path.Combine(output, "aspire-manifest.json"));
    }
}
