using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek datasets …</c></summary>
internal static class DatasetCommands
{
    private static readonly Argument<Guid> s_id = new("id") { Description = "Dataset id." };

    public static void AddTo(Command root)
    {
        var datasets = new Command("datasets", "Bring data and look at what was made of it.") { Create(), List(), Show() };
        datasets.Add(Json("profile", "Statistics of every column.", (client, id, cancelled) => client.GetProfileAsync(id, cancelled)));
        datasets.Add(Json("manifest", "Inputs, splits and hashes of a prepared dataset.", (client, id, cancelled) => client.GetManifestAsync(id, cancelled)));
        var delete = new Command("delete", "Delete a dataset.") { s_id };
        delete.Runs(async context =>
        {
            await context.Client.Datasets.DeleteAsync(context.Arguments.GetValue(s_id), context.Cancelled);
            context.Print.Done("Deleted.");
        });
        datasets.Add(delete);
        root.Add(datasets);
    }

    private static Command Create()
    {
        var files = new Argument<FileInfo[]>("files") { Description = "The data: one CSV, JSON Lines, Parquet or zip file, or the IDX files.", Arity = ArgumentArity.OneOrMore };
        var spec = new Option<FileInfo?>("--spec") { Description = "Dataset spec as a JSON file; the other options override it." };
        var name = new Option<string?>("--name") { Description = "Name of the dataset; default: the first file's." };
        var format = new Option<string?>("--format") { Description = "csv, jsonl, parquet, idx or imageZip; default: by the file's ending." };
        var target = new Option<string?>("--target") { Description = "Column to learn." };
        var task = new Option<string?>("--task") { Description = "classification or regression, default by the target's type; languageModeling to learn the target's texts." };
        var length = new Option<int?>("--context") { Description = "Tokens of a row, for languageModeling; default 256." };
        var seed = new Option<int?>("--seed") { Description = "Seed of the split." };
        var noWait = new Option<bool>("--no-wait") { Description = "Return once the data is uploaded." };
        var command = new Command("create", "Upload data and have it prepared.") { files, spec, name, format, target, task, length, seed, noWait };
        command.Runs(async context =>
        {
            var paths = context.Arguments.GetRequiredValue(files);
            foreach (var missing in paths.Where(path => !path.Exists))
            {
                throw new UsageException($"There is no file '{missing}'.");
            }

            var given = context.Arguments.GetValue(spec) is { } file ? await ReadSpecAsync(file, context.Cancelled) : null;
            var split = (given?.Split ?? new DatasetSplitSpec()) with { Seed = context.Arguments.GetValue(seed) ?? given?.Split?.Seed };
            var wanted = (given ?? new DatasetSpec { Name = "", Format = "" }) with
            {
                Name = context.Arguments.GetValue(name) ?? (given?.Name is { Length: > 0 } n ? n : DefaultName(paths[0])),
                Format = context.Arguments.GetValue(format) ?? (given?.Format is { Length: > 0 } f ? f : FormatOf(paths[0])),
                Target = context.Arguments.GetValue(target) ?? given?.Target,
                Task = context.Arguments.GetValue(task) ?? given?.Task,
                Text = context.Arguments.GetValue(length) is { } tokens ? new DatasetTextSpec(tokens) : given?.Text,
                Split = split == new DatasetSplitSpec() ? null : split,
            };
            var dataset = await context.Print.UploadAsync(wanted.Name, paths.Sum(path => path.Length), progress =>
                context.Client.Datasets.CreateAsync(wanted, [.. paths.Select(path => UploadFile.Of(path.FullName))], progress, context.Cancelled));
            if (!context.Arguments.GetValue(noWait))
            {
                await context.SucceedAsync(dataset.JobId);
                dataset = await context.Client.Datasets.GetAsync(dataset.Id, context.Cancelled);
            }

            Print(context, dataset);
        });
        return command;
    }

    private static Command List()
    {
        var command = new Command("list", "All datasets, newest first.");
        command.Runs(context => context.Print.ListAsync(
            context.Client.Datasets.ListAsync(context.Cancelled),
            ("id", d => d.Id), ("name", d => d.Name), ("state", d => d.State), ("rows", d => d.Rows), ("task", d => d.Task), ("created", d => d.CreatedAt)));
        return command;
    }

    private static Command Show()
    {
        var command = new Command("show", "One dataset.") { s_id };
        command.Runs(async context => Print(context, await context.Client.Datasets.GetAsync(context.Arguments.GetValue(s_id), context.Cancelled)));
        return command;
    }

    private static Command Json(string name, string description, Func<DatasetsClient, Guid, CancellationToken, Task<JsonElement>> read)
    {
        var command = new Command(name, description) { s_id };
        command.Runs(async context => Console.WriteLine(JsonSerializer.Serialize(
            await read(context.Client.Datasets, context.Arguments.GetValue(s_id), context.Cancelled), JsonPrinter.Options)));
        return command;
    }

    private static void Print(CommandContext context, Dataset dataset) => context.Print.Item(
        dataset, ("id", dataset.Id), ("name", dataset.Name), ("state", dataset.State), ("rows", dataset.Rows), ("task", dataset.Task),
        ("hash", dataset.ManifestSha256), ("source", dataset.SourceSha256), ("error", dataset.Error));

    private static async Task<DatasetSpec> ReadSpecAsync(FileInfo file, CancellationToken cancelled)
    {
        await using var stream = file.OpenRead();
        return await JsonFile.ReadAsync<DatasetSpec>(stream, file.Name, cancelled);
    }

    private static string DefaultName(FileInfo file) =>
        string.Concat(Path.GetFileNameWithoutExtension(file.Name).ToLowerInvariant().Select(c => char.IsAsciiLetterOrDigit(c) ? c : '-')).Trim('-');

    private static string FormatOf(FileInfo file) => file.Name.ToLowerInvariant() switch
    {
        var n when n.EndsWith(".csv", StringComparison.Ordinal) || n.EndsWith(".tsv", StringComparison.Ordinal) => "csv",
        var n when n.EndsWith(".jsonl", StringComparison.Ordinal) || n.EndsWith(".ndjson", StringComparison.Ordinal) => "jsonl",
        var n when n.EndsWith(".parquet", StringComparison.Ordinal) => "parquet",
        var n when n.EndsWith(".zip", StringComparison.Ordinal) => "imageZip",
        var n when n.Contains("-ubyte", StringComparison.Ordinal) || n.Contains(".idx", StringComparison.Ordinal) => "idx",
        _ => throw new UsageException($"The ending of '{file.Name}' does not tell its format: add --format csv|jsonl|parquet|idx|imageZip."),
    };
}
