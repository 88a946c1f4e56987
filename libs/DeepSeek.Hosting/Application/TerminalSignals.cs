using System.Runtime.InteropServices;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>
/// Stops an application that runs in the foreground when it is interrupted, terminated or loses its terminal; a second
/// signal ends the host at once, and its watchdog everything else. An application that was only started, as in a test,
/// leaves signals to the program it is part of.
/// </summary>
internal sealed class TerminalSignals : IDisposable
{
    private readonly IHostApplicationLifetime _lifetime;
    private readonly PosixSignalRegistration[] _registrations;
    private int _count;

    public TerminalSignals(IHostApplicationLifetime lifetime)
    {
        _lifetime = lifetime;
        _registrations = [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGQUIT, PosixSignal.SIGHUP }.Select(signal => PosixSignalRegistration.Create(signal, Handle))];
    }

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }
    }

    private void Handle(PosixSignalContext context)
    {
        // Not cancelled the second time: the signal then does what it does to any program.
        if (Interlocked.Increment(ref _count) == 1)
        {
            context.Cancel = true;
            _lifetime.StopApplication();
        }
    }
}

/// <summary>Leaves signals alone.</summary>
internal sealed class QuietLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
