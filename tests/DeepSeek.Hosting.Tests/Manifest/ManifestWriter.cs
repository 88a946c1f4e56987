using System.Text;
using System.Text.Json;
using Aspire.Hosting.Publishing;

namespace DeepSeek.Hosting.Tests;

internal static class ManifestWriter
{
    public static readonly string[] PublishArgs = ["--publisher", "manifest", "--output-path", "aspire-manifest.json"];

    /// <summary>The manifest as it would be at the root of the repository.</summary>
    public static async Task<string> WriteAsync(IDistributedApplicationBuilder builder)
    {
        using var app = builder.Build();
        using var stream = new MemoryStream();
        await using var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        var context = new ManifestPublishingContext(builder.ExecutionContext, Path.Combine(Repository.Root, "aspire-manifest.json"), writer, Eventually.Token);
        await context.WriteModelAsync(app.Services.GetRequiredService<DistributedApplicationModel>());
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>The entries of the manifest, each as compact JSON.</summary>
    public static async Task<Dictionary<string, string>> EntriesAsync(IDistributedApplicationBuilder builder)
    {
        using var manifest = JsonDocument.Parse(await WriteAsync(builder));
        return manifest.RootElement.GetProperty("resources").EnumerateObject().ToDictionary(entry => entry.Name, entry => JsonSerializer.Serialize(entry.Value));
    }
}
