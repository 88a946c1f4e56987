using System.CommandLine;
using DeepSeek.Cli.Quickstart;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek quickstart</c></summary>
internal static class QuickstartCommand
{
    public static void AddTo(Command root)
    {
        var images = new Option<bool>("--images") { Description = "Fashion-MNIST instead of the breast cancer table (some ten minutes on two cores)." };
        var wait = new Option<int>("--wait") { Description = "Seconds to wait for the platform to be up.", DefaultValueFactory = _ => 5 };
        var data = new Option<DirectoryInfo?>("--data") { Description = "Folder with the data; default: $DEEPSEEK_QUICKSTART_DATA, or where the packages put it." };
        var output = new Option<FileInfo>("--output", "-o") { Description = "Where the report is written.", DefaultValueFactory = _ => new FileInfo("quickstart.json") };
        var command = new Command("quickstart", "Run the whole path once on real data: prepare, train, register, compress, approve, deploy, predict, explain.") { images, wait, data, output };
        command.RunsGuarded(async (arguments, cancelled) =>
        {
            Uri Gateway() => GlobalOptions.LoginOf(arguments).Gateway;
            using (var patience = CancellationTokenSource.CreateLinkedTokenSource(cancelled))
            {
                patience.CancelAfter(TimeSpan.FromSeconds(arguments.GetValue(wait)));
                await Readiness.WaitAsync(Gateway, patience.Token);
            }

            return await CommandRunner.RunAsync(arguments, cancelled, async context =>
            {
                var plan = arguments.GetValue(images) ? QuickstartPlan.Images(arguments.GetValue(data)) : QuickstartPlan.Table(arguments.GetValue(data));
                var report = await new QuickstartRun(context, Gateway(), plan).RunAsync();
                await report.WriteAsync(arguments.GetRequiredValue(output), cancelled);
                report.Print(context, arguments.GetRequiredValue(output));
            });
        });
        root.Add(command);
    }
}
