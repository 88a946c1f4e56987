namespace DeepSeek.Inference.Deployments;

/// <summary>
/// Says every few seconds that this replica lives: one row. On a thread of its own, so that neither a long comparison nor a thread pool
/// that is busy with predictions keeps it waiting. Stops before <see cref="Reconciler"/> takes the row away.
/// </summary>
internal sealed partial class ReplicaBeat(DeploymentTable table, DeploymentStore store, ILogger<ReplicaBeat> logger) : IHostedService, IDisposable
{
    private readonly ManualResetEventSlim _stopping = new();
    private Thread? _thread;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _thread = new Thread(Run) { IsBackground = true, Name = nameof(ReplicaBeat) };
        _thread.Start();
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        _stopping.Set();
        return Task.Run(() => _thread?.Join(), cancellationToken);
    }

    public void Dispose() => _stopping.Dispose();

    private void Run()
    {
        do
        {
            try
            {
                store.Beat(table.Replica);
            }
            catch (Exception fault)
            {
                // The database is away: the next beat tells again.
                LogBeatFailed(fault.Message);
            }
        }
        while (!_stopping.Wait(DeploymentStore.BeatInterval));
    }

    [LoggerMessage(LogLevel.Warning, "The database does not know that this replica lives: {Reason}")]
    private partial void LogBeatFailed(string reason);
}
