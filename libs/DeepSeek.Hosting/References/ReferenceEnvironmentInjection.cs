namespace Aspire.Hosting.ApplicationModel;

/// <summary>What references add to the environment of the resource that has them.</summary>
[Flags]
public enum ReferenceEnvironmentInjectionFlags
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary><c>ConnectionStrings__name</c>.</summary>
    ConnectionString = 1 << 0,

    /// <summary>The parts of the connection string, such as <c>NAME_HOST</c>.</summary>
    ConnectionProperties = 1 << 1,

    /// <summary><c>services__name__http__0</c>.</summary>
    ServiceDiscovery = 1 << 2,

    /// <summary><c>NAME_HTTP</c>.</summary>
    Endpoints = 1 << 3,

    /// <summary>All of them.</summary>
    All = ConnectionString | ConnectionProperties | ServiceDiscovery | Endpoints,
}

/// <summary>Says what references add.</summary>
public class ReferenceEnvironmentInjectionAnnotation(ReferenceEnvironmentInjectionFlags flags) : IResourceAnnotation
{
    /// <summary>What is added.</summary>
    public ReferenceEnvironmentInjectionFlags Flags { get; } = flags;
}

/// <summary>A reference from the annotated resource to endpoints of another one. References to several endpoints of one resource share it.</summary>
internal sealed class EndpointReferenceAnnotation(IResourceWithEndpoints resource) : IResourceAnnotation
{
    public IResourceWithEndpoints Resource { get; } = resource;

    public bool UseAllEndpoints { get; set; }

    public HashSet<string> EndpointNames { get; } = new(StringComparer.OrdinalIgnoreCase);
}
