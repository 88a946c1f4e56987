namespace Aspire.Hosting.ApplicationModel;

/// <summary>Deployed as a container. This host runs the servers it knows as local processes and no other containers.</summary>
public class ContainerResource(string name, string? entrypoint = null) : Resource(name), IResourceWithEnvironment, IResourceWithArgs, IResourceWithEndpoints, IResourceWithWaitSupport, IResourceWithProbes, IComputeResource
{
    /// <summary>Program the container starts; null: the image's.</summary>
    public string? Entrypoint { get; set; } = entrypoint;

    /// <summary>Whether the arguments go through a shell.</summary>
    public bool? ShellExecution { get; set; }
}

/// <summary>Image of a container.</summary>
public sealed class ContainerImageAnnotation : IResourceAnnotation
{
    /// <summary>Registry; null: the engine's default.</summary>
    public string? Registry { get; set; }

    /// <summary>Name of the image.</summary>
    public required string Image { get; set; }

    /// <summary>Tag.</summary>
    public string? Tag { get; set; }

    internal string FullName => $"{(Registry is null ? string.Empty : Registry + "/")}{Image}:{Tag ?? "latest"}";
}

/// <summary>Kinds of mounts.</summary>
public enum ContainerMountType
{
    /// <summary>A folder of the machine.</summary>
    BindMount,

    /// <summary>A volume of the engine.</summary>
    Volume,
}

/// <summary>A folder or volume mounted into a container.</summary>
public sealed class ContainerMountAnnotation(string? source, string target, ContainerMountType type, bool isReadOnly) : IResourceAnnotation
{
    /// <summary>Folder or name of the volume; null: a volume without a name.</summary>
    public string? Source { get; } = source;

    /// <summary>Path inside the container.</summary>
    public string Target { get; } = target;

    /// <summary>Folder or volume.</summary>
    public ContainerMountType Type { get; } = type;

    /// <summary>Whether the container cannot write to it.</summary>
    public bool IsReadOnly { get; } = isReadOnly;
}

/// <summary>How long a container lives.</summary>
public enum ContainerLifetime
{
    /// <summary>As long as the application.</summary>
    Session,

    /// <summary>Longer than the application. This host ends all processes with the application and keeps their data.</summary>
    Persistent,
}

/// <summary>How long a container lives.</summary>
public sealed class ContainerLifetimeAnnotation : IResourceAnnotation
{
    /// <summary>The lifetime.</summary>
    public required ContainerLifetime Lifetime { get; set; }
}
