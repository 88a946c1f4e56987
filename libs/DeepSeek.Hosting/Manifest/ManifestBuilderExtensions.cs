using Aspire.Hosting.Publishing;

namespace Aspire.Hosting.ApplicationModel
{
    /// <summary>Writes the resource's entry in the manifest; null: it has none.</summary>
    public class ManifestPublishingCallbackAnnotation(Func<ManifestPublishingContext, Task>? callback) : IResourceAnnotation
    {
        /// <summary>The callback.</summary>
        public Func<ManifestPublishingContext, Task>? Callback { get; } = callback;
    }
}

namespace Aspire.Hosting
{
    public static partial class ResourceBuilderExtensions
    {
        /// <summary>Leaves the resource out of the manifest.</summary>
        public static IResourceBuilder<T> ExcludeFromManifest<T>(this IResourceBuilder<T> builder) where T : IResource
            => builder.WithAnnotation(new ManifestPublishingCallbackAnnotation(null), ResourceAnnotationMutationBehavior.Replace);

        /// <summary>Writes the resource's entry in the manifest by a callback.</summary>
        public static IResourceBuilder<T> WithManifestPublishingCallback<T>(this IResourceBuilder<T> builder, Action<ManifestPublishingContext> callback) where T : IResource
            => builder.WithManifestPublishingCallback(context =>
            {
                callback(context);
                return Task.CompletedTask;
            });

        /// <summary>Writes the resource's entry in the manifest by a callback.</summary>
        public static IResourceBuilder<T> WithManifestPublishingCallback<T>(this IResourceBuilder<T> builder, Func<ManifestPublishingContext, Task> callback) where T : IResource
            => builder.WithAnnotation(new ManifestPublishingCallbackAnnotation(callback), ResourceAnnotationMutationBehavior.Replace);
    }
}
