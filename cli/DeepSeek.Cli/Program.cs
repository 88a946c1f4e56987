using System.CommandLine;
using DeepSeek.Cli;
using DeepSeek.Cli.Commands;

var root = new RootCommand("Train, compress, serve, explain and govern models on the DeepSeek platform.")
{
    GlobalOptions.Json,
    GlobalOptions.Gateway,
    GlobalOptions.Key,
    GlobalOptions.Local,
};
LoginCommands.AddTo(root);
DatasetCommands.AddTo(root);
RunCommands.AddTo(root);
ModelCommands.AddTo(root);
CompressCommand.AddTo(root);
DeployCommands.AddTo(root);
ExplainCommand.AddTo(root);
JobCommands.AddTo(root);
AdministrationCommands.AddTo(root);
DeviceCommands.AddTo(root);
QuickstartCommand.AddTo(root);
var parsed = root.Parse(args);
return parsed.Errors.Count > 0 ? CommandRunner.RefuseUsage(parsed) : await parsed.InvokeAsync(new() { EnableDefaultExceptionHandler = false });
