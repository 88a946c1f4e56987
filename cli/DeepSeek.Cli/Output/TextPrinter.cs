using System.Globalization;
using DeepSeek.Client;
using Spectre.Console;

namespace DeepSeek.Cli.Output;

/// <summary>Tables and progress bars for people.</summary>
internal sealed class TextPrinter : IPrinter
{
    private const int PipeWidth = 250;

    public TextPrinter()
    {
        if (Console.IsOutputRedirected)
        {
            // Whoever reads the pipe wants whole ids and no escape sequences.
            AnsiConsole.Profile.Width = PipeWidth;
            AnsiConsole.Profile.Capabilities.Ansi = false;
            AnsiConsole.Profile.Capabilities.ColorSystem = ColorSystem.NoColors;
        }
    }

    public async Task ListAsync<T>(IAsyncEnumerable<T> items, params (string Header, Func<T, object?> Value)[] columns)
    {
        var table = new Table().Border(TableBorder.Simple);
        foreach (var (header, _) in columns)
        {
            table.AddColumn(new TableColumn(Markup.Escape(header)));
        }

        await foreach (var item in items)
        {
            table.AddRow([.. columns.Select(column => Markup.Escape(Text(column.Value(item))))]);
        }

        AnsiConsole.Write(table);
    }

    public void Item<T>(T item, params (string Name, object? Value)[] facts)
    {
        var grid = new Grid().AddColumn().AddColumn();
        foreach (var (name, value) in facts)
        {
            grid.AddRow($"[grey]{Markup.Escape(name)}[/]", Markup.Escape(Text(value)));
        }

        AnsiConsole.Write(grid);
    }

    public void Done(string text) => Say(text);

    public void Say(string text) => AnsiConsole.MarkupLine(Markup.Escape(text));

    public void Part(string text)
    {
        Console.Out.Write(text);
        Console.Out.Flush();
    }

    public async Task<Job> FollowAsync(JobsClient jobs, Guid id, CancellationToken cancellationToken)
    {
        if (!AnsiConsole.Profile.Capabilities.Interactive || !AnsiConsole.Profile.Out.IsTerminal)
        {
            return await jobs.WaitAsync(id, cancellationToken: cancellationToken);
        }

        return await AnsiConsole.Progress().AutoClear(true)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .StartAsync(async progress =>
            {
                var bar = progress.AddTask("waiting", maxValue: 1);
                return await jobs.WaitAsync(id, job =>
                {
                    bar.Value = job.Progress;
                    bar.Description = Markup.Escape(job.WaitingFor ?? job.Message ?? job.Name);
                }, cancellationToken);
            });
    }

    public async Task<T> UploadAsync<T>(string name, long bytes, Func<IProgress<long>, Task<T>> upload)
    {
        if (!AnsiConsole.Profile.Out.IsTerminal || bytes < 1 << 20)
        {
            return await upload(new Progress<long>());
        }

        return await AnsiConsole.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new DownloadedColumn(), new TransferSpeedColumn())
            .StartAsync(async progress =>
            {
                var bar = progress.AddTask($"uploading {Markup.Escape(name)}", maxValue: bytes);
                return await upload(new Progress<long>(sent => bar.Value = sent));
            });
    }

    private static string Text(object? value) => value switch
    {
        null => "–",
        double number => number.ToString("G5", CultureInfo.InvariantCulture),
        DateTimeOffset time => time.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
        IEnumerable<string> words => string.Join(", ", words),
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "–",
    };
}
