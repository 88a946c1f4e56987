using System.Collections.Immutable;

namespace Aspire.Hosting;

/// <summary>Publishes the states of processes; what lives inside a resource has the resource's state.</summary>
internal sealed class ResourceStates(DistributedApplicationModel model, ResourceNotificationService notifications, ResourceLoggerService logs)
{
    public void Initialize(Replica replica)
    {
        var urls = replica.Resource.Annotations.OfType<EndpointAnnotation>()
            .Select(endpoint => new UrlSnapshot(endpoint.Name, endpoint.AllocatedEndpoint!.UriString, IsInternal: false)).ToImmutableArray();
        var state = replica.Resource.HasAnnotationOfType<ExplicitStartupAnnotation>() ? KnownResourceStates.NotStarted : KnownResourceStates.Starting;
        Publish(replica.Resource, replica.Id, snapshot => snapshot with { State = state, Urls = urls, HealthReports = Unchecked(replica.Resource) });
        foreach (var child in Children(replica.Resource))
        {
            Publish(child, child.Name, snapshot => snapshot with { State = state, HealthReports = Unchecked(child) });
        }
    }

    public void Set(Replica replica, string state)
        => Change(replica, snapshot => snapshot with { State = state });

    public void SetRunning(Replica replica, int pid)
        => Change(replica, snapshot => snapshot with
        {
            State = KnownResourceStates.Running,
            StartTimeStamp = DateTime.UtcNow,
            StopTimeStamp = null,
            ExitCode = null,
            Properties = [new ResourcePropertySnapshot("executable.pid", pid)],
        });

    public void SetEnded(Replica replica, int exitCode)
        => Change(replica, snapshot => snapshot with
        {
            State = exitCode == 0 ? KnownResourceStates.Finished : KnownResourceStates.Exited,
            StopTimeStamp = DateTime.UtcNow,
            ExitCode = exitCode,
        });

    public void Log(Replica replica, string line, bool error) => logs.Write(replica.Resource, replica.LogName, line, error);

    public bool IsCompletionAwaited(IResource resource) => model.Resources
        .Any(other => other.Annotations.OfType<WaitAnnotation>().Any(wait => wait.WaitType == WaitType.WaitForCompletion && wait.Resource == resource));

    public static ImmutableArray<HealthReportSnapshot> Unchecked(IResource resource)
        => [.. resource.Annotations.OfType<HealthCheckAnnotation>().Select(check => new HealthReportSnapshot(check.Key, Status: null, Description: null, ExceptionText: null))];

    private void Change(Replica replica, Func<CustomResourceSnapshot, CustomResourceSnapshot> change)
    {
        Publish(replica.Resource, replica.Id, change);
        foreach (var child in Children(replica.Resource))
        {
            Publish(child, child.Name, change);
        }
    }

    // Reports of an earlier life say nothing about this one.
    private void Publish(IResource resource, string id, Func<CustomResourceSnapshot, CustomResourceSnapshot> change)
        => notifications.PublishUpdateAsync(resource, id, snapshot =>
        {
            var next = change(snapshot);
            return next.State?.Text == KnownResourceStates.Running ? next : next with { HealthReports = Unchecked(resource) };
        });

    private IEnumerable<IResource> Children(IResource parent)
        => model.Resources.Where(resource => resource is IResourceWithParent child && child.Parent == parent);
}
