namespace Aspire.Hosting.ApplicationModel
{
    /// <summary>What is waited for.</summary>
    public enum WaitType
    {
        /// <summary>That the dependency is running and healthy.</summary>
        WaitUntilHealthy,

        /// <summary>That the dependency has ended.</summary>
        WaitForCompletion,

        /// <summary>That the dependency is running.</summary>
        WaitUntilStarted,
    }

    /// <summary>What to do when the dependency cannot be had.</summary>
    public enum WaitBehavior
    {
        /// <summary>Wait for someone to start it again.</summary>
        WaitOnResourceUnavailable,

        /// <summary>Fail to start.</summary>
        StopOnResourceUnavailable,
    }

    /// <summary>The resource starts only after another one.</summary>
    public sealed class WaitAnnotation(IResource resource, WaitType waitType, int exitCode = 0) : IResourceAnnotation
    {
        /// <summary>The dependency.</summary>
        public IResource Resource { get; } = resource;

        /// <summary>What is waited for.</summary>
        public WaitType WaitType { get; } = waitType;

        /// <summary>What to do when it cannot be had; null: the application's default.</summary>
        public WaitBehavior? WaitBehavior { get; set; }

        /// <summary>Exit code that counts as completed.</summary>
        public int ExitCode { get; } = exitCode;
    }
}

namespace Aspire.Hosting
{
    public static partial class ResourceBuilderExtensions
    {
        /// <summary>Starts the resource once the dependency is running and healthy.</summary>
        public static IResourceBuilder<T> WaitFor<T>(this IResourceBuilder<T> builder, IResourceBuilder<IResource> dependency) where T : IResourceWithWaitSupport
            => builder.Wait(dependency.Resource, WaitType.WaitUntilHealthy, behavior: null);

        /// <summary>Starts the resource once the dependency is running and healthy.</summary>
        public static IResourceBuilder<T> WaitFor<T>(this IResourceBuilder<T> builder, IResourceBuilder<IResource> dependency, WaitBehavior waitBehavior) where T : IResourceWithWaitSupport
            => builder.Wait(dependency.Resource, WaitType.WaitUntilHealthy, waitBehavior);

        /// <summary>Starts the resource once the dependency is running.</summary>
        public static IResourceBuilder<T> WaitForStart<T>(this IResourceBuilder<T> builder, IResourceBuilder<IResource> dependency) where T : IResourceWithWaitSupport
            => builder.Wait(dependency.Resource, WaitType.WaitUntilStarted, behavior: null);

        /// <summary>Starts the resource once the dependency is running.</summary>
        public static IResourceBuilder<T> WaitForStart<T>(this IResourceBuilder<T> builder, IResourceBuilder<IResource> dependency, WaitBehavior waitBehavior) where T : IResourceWithWaitSupport
            => builder.Wait(dependency.Resource, WaitType.WaitUntilStarted, waitBehavior);

        /// <summary>Starts the resource once the dependency has ended with an exit code; another code makes it fail to start.</summary>
        public static IResourceBuilder<T> WaitForCompletion<T>(this IResourceBuilder<T> builder, IResourceBuilder<IResource> dependency, int exitCode = 0) where T : IResourceWithWaitSupport
        {
            if (builder.Resource as IResource == dependency.Resource)
            {
                throw new DistributedApplicationException($"The '{builder.Resource.Name}' resource cannot wait for itself.");
            }

            return builder.WithRelationship(dependency.Resource, KnownRelationshipTypes.WaitFor)
                .WithAnnotation(new WaitAnnotation(dependency.Resource, WaitType.WaitForCompletion, exitCode));
        }

        private static IResourceBuilder<T> Wait<T>(this IResourceBuilder<T> builder, IResource dependency, WaitType type, WaitBehavior? behavior) where T : IResourceWithWaitSupport
        {
            if (builder.Resource as IResource == dependency)
            {
                throw new DistributedApplicationException($"The '{builder.Resource.Name}' resource cannot wait for itself.");
            }

            if (builder.Resource is IResourceWithParent && builder.Resource.RootParent() == dependency)
            {
                throw new DistributedApplicationException($"The '{builder.Resource.Name}' resource cannot wait for its parent '{dependency.Name}'.");
            }

            // A child is there only when its parent is.
            if (dependency is IResourceWithParent child)
            {
                builder.Wait(child.Parent, type, behavior);
            }

            return builder.WithRelationship(dependency, KnownRelationshipTypes.WaitFor)
                .WithAnnotation(new WaitAnnotation(dependency, type) { WaitBehavior = behavior });
        }
    }
}
