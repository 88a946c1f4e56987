using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>A line of a resource's log.</summary>
public readonly record struct LogLine(int LineNumber, string Content, bool IsErrorMessage);

/// <summary>Keeps the end of each resource's log and passes it on.</summary>
public class ResourceLoggerService
{
    private readonly MergedLog _merged;
    private readonly ConcurrentDictionary<string, ResourceLog> _logs = new(StringComparer.OrdinalIgnoreCase);

    internal ResourceLoggerService(MergedLog merged) => _merged = merged;

    /// <summary>Writes into the log of a resource.</summary>
    public ILogger GetLogger(IResource resource) => GetLogger(resource, resource.Name);

    /// <summary>The lines kept, then every new one.</summary>
    public IAsyncEnumerable<IReadOnlyList<LogLine>> WatchAsync(IResource resource) => WatchAsync(resource.Name);

    /// <summary>The lines kept, then every new one.</summary>
    public async IAsyncEnumerable<IReadOnlyList<LogLine>> WatchAsync(string resourceName, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var log = LogOf(resourceName);
        var news = Channel.CreateUnbounded<LogLine>();
        yield return log.Subscribe(news.Writer);
        try
        {
            await foreach (var line in news.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                yield return [line];
            }
        }
        finally
        {
            log.Unsubscribe(news.Writer);
        }
    }

    internal ILogger GetLogger(IResource resource, string logName) => new LineLogger(line => Write(resource, logName, line, error: false));

    internal void Write(IResource resource, string logName, string line, bool error)
    {
        _merged.Write(logName, line);
        LogOf(resource.Name).Add(logName == resource.Name ? line : $"[{logName}] {line}", error);
    }

    internal IReadOnlyList<LogLine> LinesAfter(string resourceName, int lineNumber) => LogOf(resourceName).After(lineNumber);

    private ResourceLog LogOf(string name) => _logs.GetOrAdd(name, _ => new ResourceLog());
}
