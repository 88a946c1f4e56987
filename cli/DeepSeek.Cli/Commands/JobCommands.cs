using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek jobs …</c></summary>
internal static class JobCommands
{
    private static readonly Argument<Guid> s_id = new("id") { Description = "Job id." };

    public static void AddTo(Command root)
    {
        var kind = new Option<string?>("--kind") { Description = "prepare, train, compress or explain." };
        var state = new Option<string?>("--state") { Description = "queued, leased, running, yielding, succeeded, failed or cancelled." };
        var list = new Command("list", "Jobs, newest first.") { kind, state };
        list.Runs(context => context.Print.ListAsync(
            context.Client.Jobs.ListAsync(context.Arguments.GetValue(kind), context.Arguments.GetValue(state), context.Cancelled),
            ("id", j => j.Id), ("kind", j => j.Kind), ("name", j => j.Name), ("state", j => j.State), ("progress", j => $"{j.Progress:P0}"), ("waits for", j => j.WaitingFor ?? j.Error)));
        var show = new Command("show", "One job.") { s_id };
        show.Runs(async context => Print(context, await context.Client.Jobs.GetAsync(context.Arguments.GetValue(s_id), context.Cancelled)));
        var watch = new Command("watch", "Follow a job to its end.") { s_id };
        watch.Runs(async context =>
        {
            var id = context.Arguments.GetValue(s_id);
            if (context.Arguments.GetValue(GlobalOptions.Json))
            {
                await foreach (var item in context.Client.Jobs.WatchAsync(id, context.Cancelled))
                {
                    Console.WriteLine(JsonSerializer.Serialize(item, JsonSerializerOptions.Web));
                }

                return;
            }

            Print(context, await context.SucceedAsync(id));
        });
        var logs = new Command("logs", "A job's log.") { s_id };
        logs.Runs(async context => Console.WriteLine(await context.Client.Jobs.GetLogsAsync(context.Arguments.GetValue(s_id), context.Cancelled)));
        var cancel = new Command("cancel", "Cancel a job.") { s_id };
        cancel.Runs(async context =>
        {
            await context.Client.Jobs.CancelAsync(context.Arguments.GetValue(s_id), context.Cancelled);
            context.Print.Done("Cancellation requested.");
        });
        var retry = new Command("retry", "Queue a failed job again.") { s_id };
        retry.Runs(async context =>
        {
            await context.Client.Jobs.RetryAsync(context.Arguments.GetValue(s_id), context.Cancelled);
            context.Print.Done("Queued again.");
        });
        root.Add(new Command("jobs", "Work that is queued, running or done.") { list, show, watch, logs, cancel, retry });
    }

    private static void Print(CommandContext context, Job job) => context.Print.Item(
        job, ("id", job.Id), ("kind", job.Kind), ("name", job.Name), ("state", job.State), ("progress", $"{job.Progress:P0}"), ("attempt", $"{job.Attempt} of {job.MaxAttempts}"),
        ("waits for", job.WaitingFor), ("message", job.Message), ("error", job.Error), ("result", job.Result));
}
