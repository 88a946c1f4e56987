using System.Text.Json;
using Microsoft.Extensions.Configuration;

namespace Aspire.Hosting.Publishing;

/// <summary>Writes the application's manifest.</summary>
internal sealed partial class ManifestPublisher(
    DistributedApplicationModel model, DistributedApplicationExecutionContext execution, Eventing.IDistributedApplicationEventing eventing,
    IServiceProvider services, IConfiguration configuration, ILogger<ManifestPublisher> logger)
{
    public async Task PublishAsync(CancellationToken cancellationToken)
    {
        if (PublishingOptions.Publisher(configuration) is { } name && name != "manifest")
        {
            throw new DistributedApplicationException($"The publisher '{name}' is not known: use --publisher manifest.");
        }

        var path = PublishingOptions.ManifestPath(configuration);
        await eventing.PublishAsync(new BeforeStartEvent(services, model), cancellationToken).ConfigureAwait(false);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await using (var stream = new FileStream(path, FileMode.Create))
        await using (var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true }))
        {
            await new ManifestPublishingContext(execution, path, writer, cancellationToken).WriteModelAsync(model).ConfigureAwait(false);
        }

        Published(logger, path);
    }

    [LoggerMessage(LogLevel.Information, "Published manifest to: {Path}")]
    private static partial void Published(ILogger logger, string path);
}
