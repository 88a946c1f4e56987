namespace Aspire.Hosting.Publishing;

/// <summary>Writes containers.</summary>
internal static class ManifestContainers
{
    public static async Task WriteAsync(ManifestPublishingContext context, ContainerResource container)
    {
        if (!container.TryGetLastAnnotation<ContainerImageAnnotation>(out var image))
        {
            throw new DistributedApplicationException($"Could not get the container image name for resource '{container.Name}'.");
        }

        context.Writer.WriteString("type", "container.v0");
        context.WriteConnectionString(container);
        context.Writer.WriteString("image", image.FullName);
        if (container.Entrypoint is { } entrypoint)
        {
            context.Writer.WriteString("entrypoint", entrypoint);
        }

        await context.WriteCommandLineArgumentsAsync(container).ConfigureAwait(false);
        WriteMounts(context, container, ContainerMountType.BindMount, "bindMounts");
        WriteMounts(context, container, ContainerMountType.Volume, "volumes");
        await context.WriteEnvironmentVariablesAsync(container).ConfigureAwait(false);
        context.WriteBindings(container);
    }

    private static void WriteMounts(ManifestPublishingContext context, ContainerResource container, ContainerMountType type, string property)
    {
        var mounts = container.Annotations.OfType<ContainerMountAnnotation>().Where(mount => mount.Type == type).ToArray();
        if (mounts.Length == 0)
        {
            return;
        }

        var writer = context.Writer;
        writer.WriteStartArray(property);
        foreach (var mount in mounts)
        {
            writer.WriteStartObject();
            if (type == ContainerMountType.BindMount)
            {
                writer.WriteString("source", context.GetManifestRelativePath(mount.Source));
            }
            else if (mount.Source is not null)
            {
                writer.WriteString("name", mount.Source);
            }

            writer.WriteString("target", mount.Target.Replace('\\', '/'));
            writer.WriteBoolean("readOnly", mount.IsReadOnly);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
