namespace Aspire.Hosting.ApplicationModel;

/// <summary>Says that a resource has to do with another one.</summary>
public sealed class ResourceRelationshipAnnotation(IResource resource, string type) : IResourceAnnotation
{
    /// <summary>The other resource.</summary>
    public IResource Resource { get; } = resource;

    /// <summary>The kind of relationship: "Reference", "WaitFor", "Parent".</summary>
    public string Type { get; } = type;
}

internal static class KnownRelationshipTypes
{
    public const string Parent = "Parent";
    public const string Reference = "Reference";
    public const string WaitFor = "WaitFor";
}

/// <summary>The resource waits for the start command.</summary>
public sealed class ExplicitStartupAnnotation : IResourceAnnotation;

/// <summary>How many processes run a project.</summary>
public sealed class ReplicaAnnotation(int replicas = 1) : IResourceAnnotation
{
    /// <summary>Number of processes.</summary>
    public int Replicas { get; } = replicas;
}
