using System.CommandLine;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek explain</c></summary>
internal static class ExplainCommand
{
    public static void AddTo(Command root)
    {
        var deployment = new Argument<string>("deployment") { Description = "Deployment to explain." };
        var method = new Option<string?>("--method") { Description = "auto, exact, permutation or occlusion." };
        var count = new Option<int?>("--count") { Description = "Rows (or images) drawn from the split." };
        var split = new Option<string?>("--split") { Description = "Split to draw from; default test." };
        var output = new Option<string?>("--output-class") { Description = "Class whose probability is explained." };
        var html = new Option<FileInfo?>("--html") { Description = "Write the report as an HTML page." };
        var command = new Command("explain", "Tell what drives a deployed model.") { deployment, method, count, split, output, html };
        command.Runs(async context =>
        {
            var explanation = await context.Client.Explanations.CreateAsync(
                new ExplanationSpec
                {
                    Deployment = context.Arguments.GetRequiredValue(deployment),
                    Method = context.Arguments.GetValue(method),
                    Count = context.Arguments.GetValue(count),
                    Split = context.Arguments.GetValue(split),
                    Output = context.Arguments.GetValue(output),
                },
                context.Cancelled);
            await context.SucceedAsync(explanation.JobId);
            explanation = await context.Client.Explanations.GetAsync(explanation.Id, context.Cancelled);
            if (context.Arguments.GetValue(html) is { } page)
            {
                await File.WriteAllTextAsync(page.FullName, await context.Client.Explanations.GetHtmlAsync(explanation.Id, context.Cancelled), context.Cancelled);
            }

            context.Print.Item(explanation, [("id", explanation.Id), ("model", $"{explanation.ModelName} version {explanation.ModelVersion}"), .. Importance(explanation), ("page", context.Arguments.GetValue(html)?.FullName)]);
        });
        root.Add(command);
    }

    private static IEnumerable<(string, object?)> Importance(Explanation explanation) =>
        explanation.Report is { } report && report.TryGetProperty("global", out var global)
            ? global.EnumerateArray().Take(10).Select(feature => (feature.GetProperty("feature").GetString()!, (object?)feature.GetProperty("meanAbsolute").GetDouble()))
            : [];
}
