using System.Collections.ObjectModel;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>One part of the application: a server, a service, a value.</summary>
public interface IResource
{
    /// <summary>The name other resources and tools know it by.</summary>
    string Name { get; }

    /// <summary>What was said about the resource, in the order it was said.</summary>
    ResourceAnnotationCollection Annotations { get; }
}

/// <summary>Something said about a resource.</summary>
public interface IResourceAnnotation;

/// <summary>The annotations of one resource, in order.</summary>
public sealed class ResourceAnnotationCollection : Collection<IResourceAnnotation>;

/// <summary>Takes command line arguments.</summary>
public interface IResourceWithArgs : IResource;

/// <summary>Takes environment variables.</summary>
public interface IResourceWithEnvironment : IResource;

/// <summary>Offers network endpoints.</summary>
public interface IResourceWithEndpoints : IResource;

/// <summary>Can wait for other resources before it starts.</summary>
public interface IResourceWithWaitSupport : IResource;

/// <summary>Can carry probes in a deployment.</summary>
public interface IResourceWithProbes : IResource;

/// <summary>Runs code.</summary>
public interface IComputeResource : IResource;

/// <summary>Receives files from other resources when an image is built.</summary>
public interface IContainerFilesDestinationResource : IResource;

/// <summary>Never starts or ends, so nothing can wait for it.</summary>
public interface IResourceWithoutLifetime : IResource;

/// <summary>Lives inside another resource.</summary>
public interface IResourceWithParent : IResource
{
    /// <summary>The resource this one lives in.</summary>
    IResource Parent { get; }
}

/// <summary>Lives inside another resource of type <typeparamref name="T"/>.</summary>
public interface IResourceWithParent<out T> : IResourceWithParent where T : IResource
{
    /// <summary>The resource this one lives in.</summary>
    new T Parent { get; }

    IResource IResourceWithParent.Parent => Parent;
}
