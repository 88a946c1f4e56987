namespace Aspire.Hosting;

/// <summary>Brings the host's own log into the merged one.</summary>
internal sealed class MergedLogProvider(MergedLog log) : ILoggerProvider
{
    private const string Name = "apphost";

    public ILogger CreateLogger(string categoryName) => new LineLogger(line => log.Write(Name, line));

    public void Dispose()
    {
    }
}

/// <summary>Writes messages as lines.</summary>
internal sealed class LineLogger(Action<string> write) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }

        var text = logLevel == LogLevel.Information ? formatter(state, exception) : $"{logLevel.ToString().ToLowerInvariant()}: {formatter(state, exception)}";
        foreach (var line in (exception is null ? text : $"{text}\n{exception}").Split('\n'))
        {
            write(line);
        }
    }
}
