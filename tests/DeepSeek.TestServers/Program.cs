using System.Runtime.InteropServices;
using DeepSeek.Testing;

// Starts the servers that suites run against and prints their addresses as lines for a shell to evaluate; ends them at SIGTERM or Ctrl+C.
var stop = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.TrySetResult();
}

using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
await using var servers = new OwnServersLifetime();
foreach (var (name, value) in TestServers.ToVariables())
{
    Console.WriteLine($"export {name}='{value.Replace("'", @"'\''", StringComparison.Ordinal)}'");
}

Console.WriteLine("# ready");
await stop.Task;
