using System.CommandLine;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek compress</c></summary>
internal static class CompressCommand
{
    public static void AddTo(Command root)
    {
        var model = new Argument<string>("model") { Description = "Model name." };
        var reference = new Argument<string>("ref") { Description = "Version number or alias." };
        var budget = new Option<double>("--max-drop") { Description = "Accuracy that may be lost, absolute; a candidate that loses more is refused.", DefaultValueFactory = _ => 0.005 };
        var calibration = new Option<string>("--calibration") { Description = "minMax or entropy.", DefaultValueFactory = _ => "minMax" };
        var samples = new Option<int?>("--samples") { Description = "Calibration rows, at most 512." };
        var metric = new Option<string?>("--metric") { Description = "Metric of the budget; by default the one that suits the model's task." };
        var command = new Command("compress", "Quantise a model version to INT8.") { model, reference, budget, metric, calibration, samples };
        command.Runs(async context =>
        {
            var compression = await context.Client.Compressions.CreateAsync(
                new CompressionSpec
                {
                    ModelName = context.Arguments.GetRequiredValue(model),
                    Version = context.Arguments.GetRequiredValue(reference),
                    Calibration = new CalibrationSpec(context.Arguments.GetValue(calibration), context.Arguments.GetValue(samples)),
                    Budget = new AccuracyBudget(context.Arguments.GetValue(metric), context.Arguments.GetValue(budget)),
                },
                context.Cancelled);
            await context.SucceedAsync(compression.JobId);
            compression = await context.Client.Compressions.GetAsync(compression.Id, context.Cancelled);
            context.Print.Item(compression, ("id", compression.Id), ("model", compression.ModelName), ("state", compression.State), ("report", compression.Report));
        });
        root.Add(command);
    }
}
