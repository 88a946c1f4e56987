using System.Runtime.InteropServices;

namespace DeepSeek.Trainer;

/// <summary>A wish to stop behind the next step: SIGTERM, SIGINT, or the line <c>yield</c> on standard input.</summary>
internal sealed class StopSignal : IDisposable
{
    private readonly List<PosixSignalRegistration> _registrations = [];
    private volatile bool _requested;

    internal bool IsRequested => _requested;

    internal void Request() => _requested = true;

    internal static StopSignal Listen(TextReader input)
    {
        var stop = new StopSignal();
        foreach (var signal in (PosixSignal[])[PosixSignal.SIGTERM, PosixSignal.SIGINT])
        {
            stop._registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                stop.Request();
            }));
        }
        // A background thread: reading a line cannot be cancelled and must not keep the process.
        new Thread(() => stop.Watch(input)) { IsBackground = true, Name = "standard input" }.Start();
        return stop;
    }

    public void Dispose() => _registrations.ForEach(r => r.Dispose());

    private void Watch(TextReader input)
    {
        while (input.ReadLine() is { } line)
        {
            if (line.Trim() == "yield")
            {
                Request();
            }
        }
    }
}
