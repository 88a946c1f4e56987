using System.Text.Json;
using Microsoft.Extensions.Configuration;

namespace Aspire.Hosting;

/// <summary>Chooses a project's launch profile.</summary>
internal static class LaunchProfiles
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    /// <summary>The profile asked for, else that of the AppHost's own profile name, else the first that runs the project; null if there is none.</summary>
    public static ChosenLaunchProfile? Choose(IProjectMetadata project, ProjectResourceOptions options, IConfiguration configuration)
    {
        if (options.ExcludeLaunchProfile)
        {
            return null;
        }

        var profiles = (project.LaunchSettings ?? Read(project.ProjectPath))?.Profiles;
        if (options.LaunchProfileName is { } asked)
        {
            return profiles is not null && profiles.TryGetValue(asked, out var found)
                ? new ChosenLaunchProfile(asked, found)
                : throw new DistributedApplicationException($"Launch settings file of {project.ProjectPath} does not contain '{asked}' profile.");
        }

        if (profiles is null)
        {
            return null;
        }

        var common = configuration["AppHost:DefaultLaunchProfileName"] ?? configuration["DOTNET_LAUNCH_PROFILE"];
        if (common is not null && profiles.TryGetValue(common, out var profile))
        {
            return new ChosenLaunchProfile(common, profile);
        }

        var first = profiles.FirstOrDefault(p => p.Value.CommandName is null or "" or "Project" or "Executable");
        return first.Value is null ? null : new ChosenLaunchProfile(first.Key, first.Value);
    }

    private static LaunchSettings? Read(string projectPath)
    {
        var path = Path.Combine(Path.GetDirectoryName(projectPath)!, "Properties", "launchSettings.json");
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<LaunchSettings>(File.ReadAllBytes(path), Json);
        }
        catch (JsonException fault)
        {
            throw new DistributedApplicationException($"{path} is not valid JSON: {fault.Message}", fault);
        }
    }
}

internal sealed record ChosenLaunchProfile(string Name, LaunchProfile Profile) : IResourceAnnotation
{
    public IEnumerable<Uri> Urls => (Profile.ApplicationUrl ?? string.Empty)
        .Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
        .Select(url => new Uri(url.Replace("://*", "://localhost", StringComparison.Ordinal).Replace("://+", "://localhost", StringComparison.Ordinal)));
}
