namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>The work of one job kind; a new instance in its own scope runs each lease.</summary>
/// <remarks>
/// A handler ends a lease in one of four ways: it stores its result and calls <see cref="JobContext.Complete"/> in the
/// same SaveChanges (<see cref="JobContext.Fail"/>, <see cref="JobContext.Yield"/> and <see cref="JobContext.Cancel"/>
/// likewise); it throws, which fails the attempt (finally when the exception is <see cref="JobRefusedException"/>);
/// it returns or throws OperationCanceledException after <see cref="JobContext.CancelRequested"/>; or it returns
/// because its fence was gone, which it tells with <see cref="JobContext.Drop"/>.
/// </remarks>
public interface IJobHandler
{
    /// <param name="job">The lease and the way to report.</param>
    /// <param name="cancelled">Fires when the job was cancelled or the lease was lost.</param>
    Task RunAsync(JobContext job, CancellationToken cancelled);
}
