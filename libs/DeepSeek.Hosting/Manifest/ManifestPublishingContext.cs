using System.Text.Json;

namespace Aspire.Hosting.Publishing;

/// <summary>Writes resources into the manifest.</summary>
public sealed class ManifestPublishingContext(DistributedApplicationExecutionContext executionContext, string manifestPath, Utf8JsonWriter writer, CancellationToken cancellationToken = default)
{
    private readonly ManifestReferences _references = new();
    private readonly ManifestPorts _ports = new();

    /// <summary>Running or publishing.</summary>
    public DistributedApplicationExecutionContext ExecutionContext { get; } = executionContext;

    /// <summary>Where the manifest goes.</summary>
    public string ManifestPath { get; } = manifestPath;

    /// <summary>Writes JSON into the entry of the resource.</summary>
    public Utf8JsonWriter Writer { get; } = writer;

    /// <summary>Cancels the writing.</summary>
    public CancellationToken CancellationToken { get; } = cancellationToken;

    /// <summary>A path as seen from the manifest, with slashes.</summary>
    public string? GetManifestRelativePath(string? path)
        => path is null ? null : Path.GetRelativePath(Path.GetDirectoryName(Path.GetFullPath(ManifestPath))!, path).Replace('\\', '/');

    internal async Task WriteModelAsync(DistributedApplicationModel model)
    {
        _references.Reserve(model.Resources.Select(resource => resource.Name));
        Writer.WriteStartObject();
        Writer.WriteStartObject("resources");
        foreach (var resource in model.Resources)
        {
            await WriteResourceAsync(resource).ConfigureAwait(false);
        }

        // What the model only refers to follows: generated passwords, encoded forms of parameters, conditional expressions.
        foreach (var resource in _references.Except(model.Resources))
        {
            await WriteResourceAsync(resource).ConfigureAwait(false);
        }

        _references.WriteRemainingFormattedParameters(Writer);
        await _references.WriteConditionsAsync(Writer, CancellationToken).ConfigureAwait(false);
        Writer.WriteEndObject();
        Writer.WriteEndObject();
        await Writer.FlushAsync(CancellationToken).ConfigureAwait(false);
    }

    /// <summary>Sees to it that resources a value refers to are in the manifest.</summary>
    public void TryAddDependentResources(object? value) => _references.Add(value);

    /// <summary>Writes the connection string, if the resource has one.</summary>
    public void WriteConnectionString(IResource resource)
    {
        if (resource is IResourceWithConnectionString { ConnectionStringExpression: { } expression })
        {
            TryAddDependentResources(expression);
            Writer.WriteString("connectionString", _references.Expression(expression));
        }
    }

    /// <summary>Writes the endpoints.</summary>
    public void WriteBindings(IResource resource) => ManifestBindings.Write(Writer, resource, _ports);

    /// <summary>Writes the environment.</summary>
    public async Task WriteEnvironmentVariablesAsync(IResource resource)
    {
        var variables = await ResourceConfiguration.EnvironmentAsync(resource, ExecutionContext, cancellationToken: CancellationToken).ConfigureAwait(false);
        if (variables.Count == 0)
        {
            return;
        }

        Writer.WriteStartObject("env");
        foreach (var (name, value) in variables)
        {
            Writer.WriteString(name, _references.Expression(value));
            TryAddDependentResources(value);
        }

        Writer.WriteEndObject();
    }

    /// <summary>Writes the command line arguments.</summary>
    public async Task WriteCommandLineArgumentsAsync(IResource resource)
    {
        var args = await ResourceConfiguration.ArgumentsAsync(resource, ExecutionContext, cancellationToken: CancellationToken).ConfigureAwait(false);
        if (args.Count == 0)
        {
            return;
        }

        Writer.WriteStartArray("args");
        foreach (var arg in args)
        {
            Writer.WriteStringValue(_references.Expression(arg));
            TryAddDependentResources(arg);
        }

        Writer.WriteEndArray();
    }

    /// <summary>Writes a container.</summary>
    public Task WriteContainerAsync(ContainerResource container) => ManifestContainers.WriteAsync(this, container);

    private async Task WriteResourceAsync(IResource resource)
    {
        if (resource.TryGetLastAnnotation<ManifestPublishingCallbackAnnotation>(out var annotation) && annotation.Callback is null)
        {
            return;
        }

        Writer.WriteStartObject(resource.Name);
        await (annotation?.Callback is { } callback ? callback(this) : WriteBodyAsync(resource)).ConfigureAwait(false);
        Writer.WriteEndObject();
        if (resource is ParameterResource parameter)
        {
            _references.WriteFormattedParameters(Writer, parameter);
        }
    }

    private Task WriteBodyAsync(IResource resource) => resource switch
    {
        ContainerResource container => WriteContainerAsync(container),
        ProjectResource project => ManifestProjects.WriteAsync(this, project),
        ExecutableResource executable => ManifestProjects.WriteAsync(this, executable),
        ParameterResource parameter => WriteParameter(parameter),
        IResourceWithConnectionString => WriteValue(resource),
        _ => WriteError(),
    };

    private Task WriteValue(IResource resource)
    {
        Writer.WriteString("type", "value.v0");
        WriteConnectionString(resource);
        return Task.CompletedTask;
    }

    private Task WriteError()
    {
        Writer.WriteString("error", "This resource does not support generation in the manifest.");
        return Task.CompletedTask;
    }

    private Task WriteParameter(ParameterResource parameter)
    {
        Writer.WriteString("type", "parameter.v0");
        if (parameter.IsConnectionString)
        {
            Writer.WriteString("connectionString", parameter.ValueExpression);
        }

        Writer.WriteString("value", $"{{{parameter.Name}.inputs.value}}");
        Writer.WriteStartObject("inputs");
        Writer.WriteStartObject("value");
        Writer.WriteString("type", "string");
        if (parameter.Secret)
        {
            Writer.WriteBoolean("secret", true);
        }

        if (parameter.Default is { } value)
        {
            Writer.WriteStartObject("default");
            value.WriteToManifest(this);
            Writer.WriteEndObject();
        }

        Writer.WriteEndObject();
        Writer.WriteEndObject();
        return Task.CompletedTask;
    }
}
