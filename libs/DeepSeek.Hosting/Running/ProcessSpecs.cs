namespace Aspire.Hosting;

/// <summary>Says how each process of the application is started.</summary>
internal sealed class ProcessSpecs(DistributedApplicationExecutionContext execution, IServiceProvider services, ProcessLauncher launcher)
{
    private readonly Dictionary<IResource, ILocalServer> _servers = [];

    /// <summary>
    /// Settings that make many small .NET processes start sooner and stay smaller. They stand in for nothing Aspire injects: like the rest of the
    /// ambient environment they give way to what the user or the AppHost sets.
    /// </summary>
    private static readonly (string Name, string Value)[] AmbientDefaults =
    [
        ("DOTNET_gcServer", "0"),
        ("DOTNET_TieredPGO", "0"),
    ];

    public async Task<ProcessSpec> BuildAsync(Replica replica, CancellationToken cancellationToken)
    {
        TakePorts(replica);
        if (replica.Resource.TryGetLastAnnotation<LocalServerAnnotation>(out var server))
        {
            return await Server(replica.Resource, server).PrepareAsync(launcher, cancellationToken).ConfigureAwait(false);
        }

        var environment = await EnvironmentAsync(replica, cancellationToken).ConfigureAwait(false);
        var arguments = await ArgumentsAsync(replica, cancellationToken).ConfigureAwait(false);
        return replica.Resource switch
        {
            ProjectResource project => Project(project, arguments, environment),
            ExecutableResource executable => Executable(executable, arguments, environment),
            _ => throw new DistributedApplicationException($"Resource '{replica.Resource.Name}' is a container. This host runs no containers: only PostgreSQL, RabbitMQ and Redis, as local processes."),
        };
    }

    /// <summary>The variables a process gets, before its own ports and name are put in.</summary>
    public async Task<IReadOnlyDictionary<string, string>> VariablesAsync(IResource resource, CancellationToken cancellationToken)
    {
        var variables = new Dictionary<string, string>();
        foreach (var (name, value) in await ResourceConfiguration.EnvironmentAsync(resource, execution, cancellationToken: cancellationToken).ConfigureAwait(false))
        {
            if (await ResourceConfiguration.TextAsync(value, resource, execution, cancellationToken).ConfigureAwait(false) is { } text)
            {
                variables[name] = text;
            }
        }

        return variables;
    }

    private static void TakePorts(Replica replica)
    {
        foreach (var port in replica.Ports.Values)
        {
            PortPool.GiveBack(port);
        }

        replica.Ports.Clear();
        foreach (var endpoint in replica.Resource.Annotations.OfType<EndpointAnnotation>().Where(endpoint => EndpointAllocator.IsProxied(replica.Resource, endpoint)))
        {
            replica.Ports[EndpointAllocator.ServiceName(replica.Resource, endpoint)] = endpoint.TargetPort ?? PortPool.Take();
        }
    }

    private ILocalServer Server(IResource resource, LocalServerAnnotation annotation)
    {
        lock (_servers)
        {
            if (!_servers.TryGetValue(resource, out var server))
            {
                _servers[resource] = server = annotation.Create(services);
            }

            return server;
        }
    }

    private async Task<Dictionary<string, string?>> EnvironmentAsync(Replica replica, CancellationToken cancellationToken)
    {
        var variables = await VariablesAsync(replica.Resource, cancellationToken).ConfigureAwait(false);
        return variables.ToDictionary(variable => variable.Key, variable => (string?)Templates.Expand(variable.Value, replica));
    }

    private async Task<List<string>> ArgumentsAsync(Replica replica, CancellationToken cancellationToken)
    {
        var arguments = new List<string>();
        foreach (var argument in await ResourceConfiguration.ArgumentsAsync(replica.Resource, execution, cancellationToken: cancellationToken).ConfigureAwait(false))
        {
            if (await ResourceConfiguration.TextAsync(argument, replica.Resource, execution, cancellationToken).ConfigureAwait(false) is { } text)
            {
                arguments.Add(Templates.Expand(text, replica));
            }
        }

        return arguments;
    }

    private ProcessSpec Project(ProjectResource project, List<string> arguments, Dictionary<string, string?> environment)
    {
        if (!project.TryGetLastAnnotation<IProjectMetadata>(out var metadata))
        {
            throw new DistributedApplicationException($"Project metadata was not found for resource '{project.Name}'.");
        }

        foreach (var (name, value) in AmbientDefaults)
        {
            if (Environment.GetEnvironmentVariable(name) is null)
            {
                environment.TryAdd(name, value);
            }
        }

        var program = ProjectOutput.Find(metadata.ProjectPath, services.GetRequiredService<ProjectBuildConfiguration>().Name);
        return new ProcessSpec(ProjectOutput.DotnetPath, [program, .. arguments], Path.GetDirectoryName(metadata.ProjectPath)!) { Environment = environment };
    }

    private static ProcessSpec Executable(ExecutableResource executable, List<string> arguments, Dictionary<string, string?> environment)
    {
        var local = Path.Combine(executable.WorkingDirectory, executable.Command);
        var program = executable.Command.Contains('/', StringComparison.Ordinal) && File.Exists(local) ? local
            : ServerPrograms.Find(executable.Command)
                ?? throw new DistributedApplicationException($"The command '{executable.Command}' of resource '{executable.Name}' was not found.");
        return new ProcessSpec(program, arguments, executable.WorkingDirectory) { Environment = environment };
    }
}

/// <summary>The configuration projects are taken from: the AppHost's own.</summary>
internal sealed record ProjectBuildConfiguration(string Name);
