using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek deploy</c>, <c>deployments</c>, <c>predict</c> and <c>generate</c>.</summary>
internal static class DeployCommands
{
    private static readonly Argument<string> s_name = new("name") { Description = "Deployment name." };

    public static void AddTo(Command root)
    {
        var list = new Command("list", "All deployments.");
        list.Runs(context => context.Print.ListAsync(
            context.Client.Deployments.ListAsync(context.Cancelled),
            ("name", d => d.Name), ("model", d => d.Model), ("ref", d => d.Ref), ("state", d => d.State), ("versions", d => d.Versions.Select(v => $"{v.Version} {v.State}")), ("attention", d => d.Attention)));
        var delete = new Command("delete", "Stop serving.") { s_name };
        delete.Runs(async context =>
        {
            await context.Client.Deployments.DeleteAsync(context.Arguments.GetRequiredValue(s_name), context.Cancelled);
            context.Print.Done("Deleted.");
        });
        root.Add(Deploy());
        root.Add(new Command("deployments", "What is served.") { list, delete });
        root.Add(Predict());
        root.Add(Generate());
    }

    private static Command Deploy()
    {
        var model = new Option<string>("--model") { Description = "Model name.", Required = true };
        var reference = new Option<string>("--ref") { Description = "Alias to follow or version number.", DefaultValueFactory = _ => "production" };
        var wait = new Option<bool>("--wait") { Description = "Return when every replica serves the version; fail when one cannot." };
        var command = new Command("deploy", "Serve a model version; a running deployment changes without a failed request.") { s_name, model, reference, wait };
        command.Runs(async context =>
        {
            var name = context.Arguments.GetRequiredValue(s_name);
            var deployment = await context.Client.Deployments.PutAsync(
                name, new DeploymentSpec { Model = context.Arguments.GetRequiredValue(model), Ref = context.Arguments.GetRequiredValue(reference) }, context.Cancelled);
            if (context.Arguments.GetValue(wait))
            {
                deployment = await context.Client.Deployments.WaitAsync(name, context.Cancelled);
                if (deployment.State != "ready")
                {
                    throw new CommandFailedException($"Deployment '{name}' is {deployment.State}: {deployment.Error ?? deployment.Replicas.SelectMany(r => r.Versions).Select(v => v.Error).FirstOrDefault(e => e is not null)}");
                }
            }

            context.Print.Item(deployment, ("name", deployment.Name), ("model", deployment.Model), ("ref", deployment.Ref), ("state", deployment.State), ("versions", deployment.Versions.Select(v => $"{v.Version} {v.State}")), ("attention", deployment.Attention));
        });
        return command;
    }

    private static Command Predict()
    {
        var row = new Option<string[]>("--row") { Description = "A row as a JSON object; may be given several times." };
        var file = new Option<FileInfo?>("--file") { Description = "Rows as JSON Lines." };
        var command = new Command("predict", "Predict raw rows.") { s_name, row, file };
        command.Runs(async context =>
        {
            var rows = (context.Arguments.GetValue(row) ?? []).Select((text, index) => Parse(text, $"--row {index + 1}")).ToList();
            if (context.Arguments.GetValue(file) is { } lines)
            {
                rows.AddRange((await File.ReadAllLinesAsync(lines.FullName, context.Cancelled)).Where(line => line.Length > 0).Select((line, index) => Parse(line, $"{lines.Name}, line {index + 1}")));
            }

            if (rows.Count == 0)
            {
                throw new UsageException("Give rows with --row '{…}' or --file rows.jsonl.");
            }

            var reply = await context.Client.Deployments.PredictAsync(context.Arguments.GetRequiredValue(s_name), rows, context.Cancelled);
            if (context.Arguments.GetValue(GlobalOptions.Json))
            {
                context.Print.Item(reply);
                return;
            }

            await context.Print.ListAsync(
                reply.PredictionIds.Zip(reply.Predictions).ToAsyncEnumerable(),
                ("prediction", p => (object?)p.Second.Label ?? p.Second.Prediction), ("probability", p => p.Second.Label is { } label ? p.Second.Probabilities?.GetValueOrDefault(label) : null), ("id", p => p.First));
        });
        return command;
    }

    private static Command Generate()
    {
        var prompt = new Option<string>("--prompt") { Description = "Text to go on from; default: the beginning of a document.", DefaultValueFactory = _ => "" };
        var tokens = new Option<int?>("--max-tokens") { Description = "Tokens at most; default 128." };
        var temperature = new Option<double?>("--temperature") { Description = "0 takes the most probable token each time; default 1." };
        var top = new Option<int?>("--top-k") { Description = "Draw among so many most probable tokens; default: all." };
        var seed = new Option<long?>("--seed") { Description = "Equal seeds give equal texts." };
        var stream = new Option<bool>("--stream") { Description = "Print the text as it is written." };
        var command = new Command("generate", "Have a language model write on.") { s_name, prompt, tokens, temperature, top, seed, stream };
        command.Runs(async context =>
        {
            var name = context.Arguments.GetRequiredValue(s_name);
            var spec = new GenerationSpec
            {
                Prompt = context.Arguments.GetRequiredValue(prompt),
                MaxTokens = context.Arguments.GetValue(tokens),
                Temperature = context.Arguments.GetValue(temperature),
                TopK = context.Arguments.GetValue(top),
                Seed = context.Arguments.GetValue(seed),
            };
            if (context.Arguments.GetValue(stream))
            {
                await StreamAsync(context, name, spec);
                return;
            }

            var reply = await context.Client.Deployments.GenerateAsync(name, spec, context.Cancelled);
            context.Print.Item(reply, [("text", spec.Prompt + reply.Text), .. Facts(reply)]);
        });
        return command;
    }

    private static async Task StreamAsync(CommandContext context, string name, GenerationSpec spec)
    {
        context.Print.Part(spec.Prompt);
        await foreach (var part in context.Client.Deployments.StreamAsync(name, spec, context.Cancelled))
        {
            context.Print.Part(part.Text);
            if (part.Reply is { } reply)
            {
                context.Print.Part("\n\n");
                context.Print.Item(reply, Facts(reply));
            }
        }
    }

    private static (string, object?)[] Facts(GenerationReply reply) =>
        [("tokens", reply.Tokens), ("finished", reply.FinishReason), ("seed", reply.Seed), ("id", reply.PredictionId)];

    private static JsonElement Parse(string text, string place)
    {
        try
        {
            return JsonElement.Parse(text);
        }
        catch (JsonException fault)
        {
            throw new UsageException($"{place} is no JSON: {fault.Message}");
        }
    }
}
