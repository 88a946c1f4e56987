namespace Aspire.Hosting;

/// <summary>Publishes the states of resources without processes: parameters, connection strings, external services.</summary>
internal sealed class PassiveResources(DistributedApplicationModel model, ResourceNotificationService notifications, ResourceLoggerService logs)
{
    public async Task PublishAsync()
    {
        foreach (var resource in model.Resources.Where(resource => resource is not (ProjectResource or ExecutableResource or ContainerResource or IResourceWithParent)))
        {
            var state = StateOf(resource);
            await notifications.PublishUpdateAsync(resource, snapshot => snapshot with { State = state, StartTimeStamp = DateTime.UtcNow }).ConfigureAwait(false);
        }
    }

    private string StateOf(IResource resource)
    {
        if (resource is not ParameterResource parameter)
        {
            return KnownResourceStates.Running;
        }

        try
        {
            _ = parameter.Value;
            return KnownResourceStates.Running;
        }
        catch (MissingParameterValueException fault)
        {
            logs.GetLogger(resource).LogError("{Message}", fault.Message);
            return KnownResourceStates.ValueMissing;
        }
    }
}
