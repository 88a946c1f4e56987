using DeepSeek.Client;

namespace DeepSeek.Cli.Output;

internal static class Follow
{
    /// <summary>Waits for a job and fails the command when the job did.</summary>
    public static async Task<Job> SucceedAsync(this CommandContext context, Guid jobId)
    {
        var job = await context.Print.FollowAsync(context.Client.Jobs, jobId, context.Cancelled);
        return job.Succeeded ? job : throw new CommandFailedException($"Job {job.Id} ({job.Name}) {job.State}: {job.Error ?? job.Message ?? "no reason was given"}");
    }
}
