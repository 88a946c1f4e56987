using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek models …</c></summary>
internal static class ModelCommands
{
    private static readonly Argument<string> s_model = new("model") { Description = "Model name." };
    private static readonly Argument<int> s_version = new("version") { Description = "Version number." };
    private static readonly Argument<string> s_alias = new("alias") { Description = "Alias, for example staging or production." };

    public static void AddTo(Command root)
    {
        var search = new Option<string?>("--search") { Description = "Part of the name." };
        var list = new Command("list", "All models.") { search };
        list.Runs(context => context.Print.ListAsync(
            context.Client.Models.ListAsync(context.Arguments.GetValue(search), context.Cancelled),
            ("name", m => m.Name), ("latest", m => m.LatestVersion), ("aliases", m => m.Aliases?.Select(alias => $"@{alias.Key}={alias.Value}"))));
        var versions = new Command("versions", "A model's versions.") { s_model };
        versions.Runs(context => context.Print.ListAsync(
            context.Client.Models.ListVersionsAsync(context.Arguments.GetRequiredValue(s_model), context.Cancelled),
            ("version", v => v.Version), ("from", v => v.SourceKind), ("author", v => v.Author), ("accuracy", v => v.Metrics.GetValueOrDefault("accuracy", double.NaN)),
            ("aliases", v => v.Aliases.Select(alias => $"@{alias}")), ("created", v => v.CreatedAt)));
        var reference = new Argument<string>("ref") { Description = "Version number or alias." };
        var show = new Command("show", "One version, by number or alias.") { s_model, reference };
        show.Runs(async context =>
        {
            var version = await context.Client.Models.ResolveAsync(context.Arguments.GetRequiredValue(s_model), context.Arguments.GetRequiredValue(reference), context.Cancelled);
            context.Print.Item(
                version,
                [("model", version.ModelName), ("version", version.Version), ("author", version.Author), ("from", version.SourceKind), ("dataset", version.DatasetManifestSha256),
                    .. version.Metrics.Select(metric => (metric.Key, (object?)metric.Value)), .. version.Artifacts.Select(file => (file.Name, (object?)$"{file.Bytes} bytes, {file.Sha256}"))]);
        });
        var lineage = new Command("lineage", "From a version back to the bytes it learned from.") { s_model, s_version };
        lineage.Runs(async context => Console.WriteLine(JsonSerializer.Serialize(
            await context.Client.Models.GetLineageAsync(context.Arguments.GetRequiredValue(s_model), context.Arguments.GetValue(s_version), context.Cancelled), JsonPrinter.Options)));
        root.Add(new Command("models", "Registered models and their versions.") { list, versions, show, lineage, Approve(), Alias(), Download() });
    }

    private static Command Approve()
    {
        var comment = new Option<string?>("--comment") { Description = "Why." };
        var reject = new Option<bool>("--reject") { Description = "Reject instead." };
        var command = new Command("approve", "Approve a version for production; its author cannot.") { s_model, s_version, comment, reject };
        command.Runs(async context =>
        {
            await context.Client.Models.ApproveAsync(
                context.Arguments.GetRequiredValue(s_model), context.Arguments.GetValue(s_version), context.Arguments.GetValue(comment), context.Arguments.GetValue(reject), context.Cancelled);
            context.Print.Done(context.Arguments.GetValue(reject) ? "Rejected." : "Approved.");
        });
        return command;
    }

    private static Command Alias()
    {
        var delete = new Option<bool>("--delete") { Description = "Remove the alias." };
        var version = new Argument<int?>("version") { Description = "Version number.", Arity = ArgumentArity.ZeroOrOne };
        var command = new Command("alias", "Point an alias at a version.") { s_model, s_alias, version, delete };
        command.Runs(async context =>
        {
            var (model, alias) = (context.Arguments.GetRequiredValue(s_model), context.Arguments.GetRequiredValue(s_alias).TrimStart('@'));
            if (context.Arguments.GetValue(delete))
            {
                await context.Client.Models.DeleteAliasAsync(model, alias, context.Cancelled);
                context.Print.Done($"{model}@{alias} is gone.");
                return;
            }

            var number = context.Arguments.GetValue(version) ?? throw new UsageException("Give the version the alias shall point at, or --delete.");
            await context.Client.Models.SetAliasAsync(model, alias, number, cancellationToken: context.Cancelled);
            context.Print.Done($"{model}@{alias} is version {number}.");
        });
        return command;
    }

    private static Command Download()
    {
        var artifact = new Option<string>("--artifact") { Description = "File of the version.", DefaultValueFactory = _ => "model.onnx" };
        var output = new Option<FileInfo?>("--output", "-o") { Description = "Where to write it; default: its name, here." };
        var reference = new Argument<string>("ref") { Description = "Version number or alias." };
        var command = new Command("download", "Download a version's file, checked against its hash.") { s_model, reference, artifact, output };
        command.Runs(async context =>
        {
            var version = await context.Client.Models.ResolveAsync(context.Arguments.GetRequiredValue(s_model), context.Arguments.GetRequiredValue(reference), context.Cancelled);
            var name = context.Arguments.GetRequiredValue(artifact);
            var file = version.Artifacts.SingleOrDefault(candidate => candidate.Name == name)
                ?? throw new UsageException($"Version {version.Version} has no file '{name}': {string.Join(", ", version.Artifacts.Select(a => a.Name))}.");
            var path = context.Arguments.GetValue(output)?.FullName ?? Path.GetFullPath(name);
            await context.Client.Blobs.DownloadAsync(file.Sha256, path, context.Cancelled);
            context.Print.Item(new { path, file.Sha256, file.Bytes }, ("written", path), ("sha256", file.Sha256), ("bytes", file.Bytes));
        });
        return command;
    }
}
