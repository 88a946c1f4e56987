namespace Aspire.Hosting.ApplicationModel;

/// <summary>Commands every process knows.</summary>
public static class KnownResourceCommands
{
    /// <summary>Starts it.</summary>
    public static readonly string StartCommand = "start";

    /// <summary>Stops it until it is started again.</summary>
    public static readonly string StopCommand = "stop";

    /// <summary>Stops and starts it.</summary>
    public static readonly string RestartCommand = "restart";
}

/// <summary>What came of a command.</summary>
public class ExecuteCommandResult
{
    /// <summary>Whether it was carried out.</summary>
    public required bool Success { get; init; }

    /// <summary>Why it was not.</summary>
    public string? Message { get; init; }
}

/// <summary>Carries out commands to resources.</summary>
public class ResourceCommandService
{
    private readonly ResourceControllers _controllers;
    private readonly ResourceNotificationService _notifications;

    internal ResourceCommandService(ResourceControllers controllers, ResourceNotificationService notifications)
    {
        _controllers = controllers;
        _notifications = notifications;
    }

    /// <summary>Starts, stops or restarts a resource, or one process of it by its id. Returns when a stop is complete; does not wait for a start.</summary>
    public async Task<ExecuteCommandResult> ExecuteCommandAsync(string resourceId, string commandName, CancellationToken cancellationToken = default)
    {
        var runners = _controllers.Find(resourceId);
        if (runners.Length == 0)
        {
            return new ExecuteCommandResult { Success = false, Message = $"Resource '{resourceId}' not found." };
        }

        switch (commandName)
        {
            case "start":
                Start(runners);
                break;
            case "stop":
                await StopAsync(runners, cancellationToken).ConfigureAwait(false);
                break;
            case "restart":
                await StopAsync(runners, cancellationToken).ConfigureAwait(false);
                Start(runners);
                break;
            default:
                return new ExecuteCommandResult { Success = false, Message = $"Command '{commandName}' not available for resource '{resourceId}': use start, stop or restart." };
        }

        return new ExecuteCommandResult { Success = true };
    }

    /// <summary>Starts, stops or restarts a resource.</summary>
    public Task<ExecuteCommandResult> ExecuteCommandAsync(IResource resource, string commandName, CancellationToken cancellationToken = default)
        => ExecuteCommandAsync(resource.Name, commandName, cancellationToken);

    private void Start(ReplicaRunner[] runners)
    {
        foreach (var runner in runners.Where(runner => StateOf(runner) != KnownResourceStates.Running))
        {
            runner.Start();
        }
    }

    private async Task StopAsync(ReplicaRunner[] runners, CancellationToken cancellationToken)
    {
        foreach (var runner in runners)
        {
            runner.Stop();
        }

        foreach (var runner in runners.Where(runner => StateOf(runner) is "Running" or "Stopping" or "Starting" or "Waiting"))
        {
            await _notifications.WaitForResourceAsync(runner.Replica.Id, [KnownResourceStates.Exited, KnownResourceStates.Finished, KnownResourceStates.FailedToStart], cancellationToken).ConfigureAwait(false);
        }
    }

    private string? StateOf(ReplicaRunner runner)
        => _notifications.TryGetCurrentState(runner.Replica.Id, out var state) ? state.Snapshot.State?.Text : null;
}
