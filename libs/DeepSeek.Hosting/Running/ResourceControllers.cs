using Aspire.Hosting.Eventing;

namespace Aspire.Hosting;

/// <summary>All processes of the application.</summary>
internal sealed class ResourceControllers(
    DistributedApplicationModel model, ProcessSpecs specs, ProcessLauncher launcher, EndpointAllocator endpoints, ResourceNotificationService notifications,
    ResourceLoggerService logs, IDistributedApplicationEventing eventing, IServiceProvider services, LocalHostSettings settings)
{
    private readonly Dictionary<IResource, ReplicaRunner[]> _runners = [];

    /// <summary>Makes a runner per process.</summary>
    public void Create()
    {
        var states = new ResourceStates(model, notifications, logs);
        foreach (var resource in model.Resources.Where(IsProcess))
        {
            var count = resource.GetReplicaCount();
            _runners[resource] = [.. Enumerable.Range(0, count).Select(index => Create(new Replica(resource, index, count), states))];
        }
    }

    public void Begin()
    {
        foreach (var runner in _runners.Values.SelectMany(runners => runners))
        {
            runner.Begin();
        }
    }

    public ReplicaRunner[] Of(IResource resource) => _runners.GetValueOrDefault(resource) ?? [];

    public IEnumerable<Replica> Replicas => _runners.Values.SelectMany(runners => runners).Select(runner => runner.Replica);

    /// <summary>The runners a name stands for: of a resource, or of one process.</summary>
    public ReplicaRunner[] Find(string name) => [.. _runners.Values.SelectMany(runners => runners).Where(runner =>
        string.Equals(runner.Replica.Resource.Name, name, StringComparison.OrdinalIgnoreCase) || string.Equals(runner.Replica.Id, name, StringComparison.OrdinalIgnoreCase))];

    /// <summary>Stops everything; a resource when all that depend on it have stopped.</summary>
    public Task EndAsync()
    {
        var order = new StopOrder(_runners.Keys);
        var stops = new Dictionary<IResource, Task>();
        foreach (var resource in order.DependentsFirst)
        {
            var dependents = order.DependentsOf(resource).Where(stops.ContainsKey).Select(dependent => stops[dependent]).ToArray();
            stops[resource] = EndAsync(resource, dependents);
        }

        return Task.WhenAll(stops.Values);
    }

    private async Task EndAsync(IResource resource, Task[] dependents)
    {
        await Task.WhenAll(dependents).ConfigureAwait(false);
        await Task.WhenAll(_runners[resource].Select(runner => runner.EndAsync())).ConfigureAwait(false);
    }

    private ReplicaRunner Create(Replica replica, ResourceStates states)
    {
        states.Initialize(replica);
        return new ReplicaRunner(replica, specs, launcher, endpoints, states, notifications, eventing, services, settings, logs.GetLogger(replica.Resource, replica.LogName));
    }

    private static bool IsProcess(IResource resource) => resource is ProjectResource or ExecutableResource or ContainerResource;
}
