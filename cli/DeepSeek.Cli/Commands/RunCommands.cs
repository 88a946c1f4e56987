using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek runs …</c></summary>
internal static class RunCommands
{
    private const int ShownOperators = 10;
    private static readonly Argument<Guid> s_id = new("id") { Description = "Run id." };

    public static void AddTo(Command root)
    {
        var list = new Command("list", "All runs, newest first.");
        list.Runs(context => context.Print.ListAsync(
            context.Client.Runs.ListAsync(context.Cancelled),
            ("id", r => r.Id), ("name", r => r.Name), ("model", r => r.ModelName), ("state", r => r.State),
            ("accuracy", r => r.Metrics?.GetValueOrDefault("accuracy")), ("created", r => r.CreatedAt)));
        var show = new Command("show", "One run.") { s_id };
        show.Runs(async context => Print(context, await context.Client.Runs.GetAsync(context.Arguments.GetValue(s_id), context.Cancelled)));
        var metrics = new Command("metrics", "A run's metrics as a series.") { s_id };
        metrics.Runs(context => context.Print.ListAsync(
            context.Client.Runs.GetMetricsAsync(context.Arguments.GetValue(s_id), context.Cancelled),
            ("step", m => m.Step), ("name", m => m.Name), ("value", m => m.Value)));
        root.Add(new Command("runs", "Train models.") { Create("create"), list, show, metrics, Trace() });
        root.Add(Create("train"));
    }

    private static Command Trace()
    {
        var events = new Option<FileInfo?>("--events") { Description = "Write the trace event by event to this file, for chrome://tracing or Perfetto." };
        var command = new Command("trace", "Where the time and memory of a traced run went (\"trace\": {} in its spec).") { s_id, events };
        command.Runs(async context =>
        {
            var id = context.Arguments.GetValue(s_id);
            if (context.Arguments.GetValue(events) is { } file)
            {
                await using var stream = file.Create();
                await context.Client.Runs.CopyTraceEventsAsync(id, stream, context.Cancelled);
                context.Print.Done($"{file.FullName}: open it in chrome://tracing or https://ui.perfetto.dev.");
                return;
            }

            var trace = await context.Client.Runs.GetTraceAsync(id, context.Cancelled);
            context.Print.Item(trace,
                [("summary", trace.GetProperty("summary").GetString()), ("device", trace.GetProperty("device").GetString()), ("steps", trace.GetProperty("steps").GetInt32()),
                    ("s/step", Rounded(trace.GetProperty("duration").GetDouble() / Math.Max(1, trace.GetProperty("steps").GetInt32()))),
                    ("J/step", trace.GetProperty("energyPerStep").ValueKind == JsonValueKind.Number ? trace.GetProperty("energyPerStep").GetDouble() : null),
                    .. trace.GetProperty("phases").EnumerateArray().Select(p => ($"{p.GetProperty("name").GetString()} s", (object?)Rounded(p.GetProperty("time").GetDouble()))),
                    .. trace.GetProperty("operators").EnumerateArray().Take(ShownOperators).Select(o =>
                        (o.GetProperty("name").GetString()!, (object?)$"{o.GetProperty("phase").GetString()}, {o.GetProperty("calls").GetInt32()} calls, {Rounded(o.GetProperty("selfTime").GetDouble())} s of its own"))]);
        });
        return command;
    }

    private static double Rounded(double value) => Math.Round(value, 6);

    private static Command Create(string name)
    {
        var spec = new Argument<FileInfo>("spec") { Description = "Run spec, a JSON file of format deepseek.run/1." };
        var dataset = new Option<Guid?>("--dataset") { Description = "Dataset id; overrides the spec's." };
        var noWait = new Option<bool>("--no-wait") { Description = "Return once the run is queued." };
        var command = new Command(name, "Train a model; options override the spec.") { spec, dataset, noWait };
        SpecOption[] settings =
        [
            new("device", "auto, cpu, cuda or cuda:1; auto takes a GPU where there is one."),
            new("precision", "auto, fp32, bf16, fp16, adaptive (each layer in FP8, bf16 or fp32) or bf16Weights (gpt: the fastest on a GPU)."),
            new("capture", "auto, on or off: whether steps on a GPU are recorded once and replayed."),
            new("checkpointing", "off, on, or the MiB that activations may take; the rest is computed again in the backward pass."),
            new("optimizer", "adamW, sgd or adaptive; of another one than the spec's, only learning rate and weight decay are kept.", "optimizer.name"),
            new("learning-rate", "Peak learning rate.", "optimizer.learningRate"),
            new("weight-decay", "Decay of weight matrices a step, in units of the learning rate.", "optimizer.weightDecay"),
        ];
        foreach (var setting in settings)
        {
            command.Add(setting.Option);
        }
        command.Runs(async context =>
        {
            var file = context.Arguments.GetRequiredValue(spec);
            await using var stream = file.OpenRead();
            var document = await JsonFile.ReadAsync<Dictionary<string, JsonElement>>(stream, file.Name, context.Cancelled);
            if (context.Arguments.GetValue(dataset) is { } id)
            {
                document["datasetId"] = JsonSerializer.SerializeToElement(id);
            }

            foreach (var setting in settings)
            {
                setting.Override(document, context.Arguments);
            }

            var run = await context.Client.Runs.CreateAsync(document, context.Cancelled);
            if (!context.Arguments.GetValue(noWait))
            {
                await context.SucceedAsync(run.JobId);
                run = await context.Client.Runs.GetAsync(run.Id, context.Cancelled);
            }

            Print(context, run);
            if (run.Artifacts?.Any(a => a.Name == "trace.json") == true)
            {
                context.Print.Say((await context.Client.Runs.GetTraceAsync(run.Id, context.Cancelled)).GetProperty("summary").GetString()!);
            }
        });
        return command;
    }

    private static string? Device(RunCompute? compute) => compute is null ? null : $"{compute.Device} ({compute.DeviceName})";

    private static void Print(CommandContext context, Run run) => context.Print.Item(
        run,
        [("id", run.Id), ("name", run.Name), ("model", run.ModelName), ("state", run.State), ("job", run.JobId), ("device", Device(run.Compute)), ("precision", run.Compute?.Precision), ("captured", run.Compute?.Captured), ("because", run.Compute?.Reasons is { } reasons ? string.Join(" ", reasons) : null),
            ("hardware", run.Compute?.Advice is { } advice ? string.Join(" ", advice.Sentences) : null),
            .. (run.Metrics ?? new Dictionary<string, double>()).Select(metric => (metric.Key, (object?)metric.Value)), ("error", run.Error)]);
}
