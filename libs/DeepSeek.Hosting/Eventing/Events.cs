using Aspire.Hosting.ApplicationModel;

namespace Aspire.Hosting.Eventing
{
    /// <summary>Something that happened in the application.</summary>
    public interface IDistributedApplicationEvent;

    /// <summary>Something that happened to a resource.</summary>
    public interface IDistributedApplicationResourceEvent : IDistributedApplicationEvent
    {
        /// <summary>The resource.</summary>
        IResource Resource { get; }
    }
}

namespace Aspire.Hosting.ApplicationModel
{
    using Aspire.Hosting.Eventing;

    /// <summary>The model is complete; nothing has started.</summary>
    public class BeforeStartEvent(IServiceProvider services, DistributedApplicationModel model) : IDistributedApplicationEvent
    {
        /// <summary>Services of the host.</summary>
        public IServiceProvider Services { get; } = services;

        /// <summary>The model.</summary>
        public DistributedApplicationModel Model { get; } = model;
    }

    /// <summary>All resources have been told to start.</summary>
    public class AfterResourcesCreatedEvent(IServiceProvider services, DistributedApplicationModel model) : IDistributedApplicationEvent
    {
        /// <summary>Services of the host.</summary>
        public IServiceProvider Services { get; } = services;

        /// <summary>The model.</summary>
        public DistributedApplicationModel Model { get; } = model;
    }

    /// <summary>A resource's endpoints have their addresses.</summary>
    public class ResourceEndpointsAllocatedEvent(IResource resource, IServiceProvider services) : ResourceEvent<ResourceEndpointsAllocatedEvent>(resource, services);

    /// <summary>The connection string of a resource can be read.</summary>
    public class ConnectionStringAvailableEvent(IResource resource, IServiceProvider services) : ResourceEvent<ConnectionStringAvailableEvent>(resource, services);

    /// <summary>A resource is about to start; handlers may hold it back.</summary>
    public class BeforeResourceStartedEvent(IResource resource, IServiceProvider services) : ResourceEvent<BeforeResourceStartedEvent>(resource, services);

    /// <summary>A resource is running and healthy for the first time.</summary>
    public class ResourceReadyEvent(IResource resource, IServiceProvider services) : ResourceEvent<ResourceReadyEvent>(resource, services);

    /// <summary>Base of the events of a resource.</summary>
    public abstract class ResourceEvent<TSelf>(IResource resource, IServiceProvider services) : IDistributedApplicationResourceEvent
    {
        /// <inheritdoc />
        public IResource Resource { get; } = resource;

        /// <summary>Services of the host.</summary>
        public IServiceProvider Services { get; } = services;
    }
}
