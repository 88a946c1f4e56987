namespace Aspire.Hosting;

/// <summary>Orders resources so that those that use others stop before them.</summary>
internal sealed class StopOrder
{
    private readonly Dictionary<IResource, HashSet<IResource>> _dependents = [];

    public StopOrder(IEnumerable<IResource> resources)
    {
        var all = resources.ToArray();
        foreach (var resource in all)
        {
            _dependents[resource] = [];
        }

        foreach (var resource in all)
        {
            foreach (var used in UsedBy(resource).Where(used => used != resource && _dependents.ContainsKey(used)))
            {
                _dependents[used].Add(resource);
            }
        }

        var order = new List<IResource>();
        var visited = new HashSet<IResource>();
        foreach (var resource in all)
        {
            Visit(resource, visited, order);
        }

        DependentsFirst = order;
    }

    /// <summary>All resources. Where references go round in a circle, the one met first comes last.</summary>
    public IReadOnlyList<IResource> DependentsFirst { get; }

    public IReadOnlyCollection<IResource> DependentsOf(IResource resource) => _dependents[resource];

    private void Visit(IResource resource, HashSet<IResource> visited, List<IResource> order)
    {
        if (!visited.Add(resource))
        {
            return;
        }

        foreach (var dependent in _dependents[resource])
        {
            Visit(dependent, visited, order);
        }

        order.Add(resource);
    }

    private static IEnumerable<IResource> UsedBy(IResource resource)
        => resource.Annotations.OfType<WaitAnnotation>().Select(wait => wait.Resource)
            .Concat(resource.Annotations.OfType<ResourceRelationshipAnnotation>().Where(relation => relation.Type == KnownRelationshipTypes.Reference).Select(relation => relation.Resource))
            .Select(used => used.RootParent());
}
