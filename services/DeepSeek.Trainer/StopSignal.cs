using System.Runtime.InteropServices;

namespace DeepSeek.Trainer;

/// <summary>
/// A wish to stop behind the next step: SIGTERM, SIGINT, the line <c>yield</c> on standard input, or the death of the parent
/// process, after which nobody would take the result.
/// </summary>
internal sealed partial class StopSignal : IDisposable
{
    private static readonly TimeSpan s_parentCheck = TimeSpan.FromSeconds(1);
    private readonly List<PosixSignalRegistration> _registrations = [];
    private Timer? _parent;
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
        var parent = ParentId();
        stop._parent = new Timer(_ =>
        {
            if (ParentId() != parent)
            {
                stop.Request();
            }
        }, null, s_parentCheck, s_parentCheck);
        // A background thread: reading a line cannot be cancelled and must not keep the process.
        new Thread(() => stop.Watch(input)) { IsBackground = true, Name = "standard input" }.Start();
        return stop;
    }

    public void Dispose()
    {
        _registrations.ForEach(r => r.Dispose());
        _parent?.Dispose();
    }

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

    [LibraryImport("libc", EntryPoint = "getppid")]
    private static partial int ParentId();
}
