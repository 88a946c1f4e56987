using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Waits for the dependencies of a resource.</summary>
internal static class Dependencies
{
    /// <summary>Returns when all are met. Throws <see cref="DistributedApplicationException"/> when one cannot be met any more.</summary>
    public static Task WaitAsync(ResourceNotificationService notifications, IResource resource, Action<string> log, CancellationToken cancellationToken)
        => Task.WhenAll(resource.Annotations.OfType<WaitAnnotation>().Select(wait => WaitAsync(notifications, wait, log, cancellationToken)));

    private static async Task WaitAsync(ResourceNotificationService notifications, WaitAnnotation wait, Action<string> log, CancellationToken cancellationToken)
    {
        var behavior = wait.WaitBehavior ?? notifications.DefaultWaitBehavior;
        var told = false;
        await foreach (var change in notifications.WatchAsync(cancellationToken).ConfigureAwait(false))
        {
            if (change.Resource != wait.Resource)
            {
                continue;
            }

            var states = notifications.StatesOf(wait.Resource);
            if (states.All(state => IsMet(wait, state.Snapshot)))
            {
                await Task.WhenAll(states.Select(state => state.Snapshot.ResourceReadyEvent?.EventTask ?? Task.CompletedTask)).WaitAsync(cancellationToken).ConfigureAwait(false);
                return;
            }

            ThrowIfHopeless(wait, states, behavior);
            if (!told)
            {
                told = true;
                log($"Waiting for resource '{wait.Resource.Name}' to {Aim(wait)}.");
            }
        }
    }

    private static bool IsMet(WaitAnnotation wait, CustomResourceSnapshot snapshot) => wait.WaitType switch
    {
        WaitType.WaitUntilStarted => snapshot.State?.Text == KnownResourceStates.Running,
        WaitType.WaitUntilHealthy => snapshot is { HealthStatus: HealthStatus.Healthy, ResourceReadyEvent: not null },
        _ => Ended(snapshot) && snapshot.State?.Text != KnownResourceStates.FailedToStart && (snapshot.ExitCode ?? wait.ExitCode) == wait.ExitCode,
    };

    private static void ThrowIfHopeless(WaitAnnotation wait, ResourceEvent[] states, WaitBehavior behavior)
    {
        var ended = states.FirstOrDefault(state => Ended(state.Snapshot));
        if (ended is null)
        {
            return;
        }

        var how = $"{ended.Snapshot.State!.Text}{(ended.Snapshot.ExitCode is int code ? $" with exit code {code}" : string.Empty)}";
        if (wait.WaitType == WaitType.WaitForCompletion && !IsMet(wait, ended.Snapshot))
        {
            throw new DistributedApplicationException($"Resource '{wait.Resource.Name}' is {how}, expected exit code {wait.ExitCode}.");
        }

        if (wait.WaitType != WaitType.WaitForCompletion && behavior == WaitBehavior.StopOnResourceUnavailable)
        {
            throw new DistributedApplicationException($"Stopped waiting for resource '{wait.Resource.Name}' to {Aim(wait)}: it is {how}.");
        }
    }

    private static bool Ended(CustomResourceSnapshot snapshot) => snapshot.State is { } state && KnownResourceStates.TerminalStates.Contains(state.Text);

    private static string Aim(WaitAnnotation wait) => wait.WaitType switch
    {
        WaitType.WaitUntilStarted => "start",
        WaitType.WaitUntilHealthy => "become healthy",
        _ => "complete",
    };
}
