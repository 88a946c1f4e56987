using System.Threading.Channels;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>The last lines of one resource.</summary>
internal sealed class ResourceLog
{
    private const int Kept = 1000;
    private readonly Lock _gate = new();
    private readonly Queue<LogLine> _lines = [];
    private readonly HashSet<ChannelWriter<LogLine>> _watchers = [];
    private int _count;

    public void Add(string content, bool error)
    {
        lock (_gate)
        {
            var line = new LogLine(++_count, content, error);
            _lines.Enqueue(line);
            if (_lines.Count > Kept)
            {
                _lines.Dequeue();
            }

            foreach (var watcher in _watchers)
            {
                watcher.TryWrite(line);
            }
        }
    }

    public LogLine[] After(int lineNumber)
    {
        lock (_gate)
        {
            return [.. _lines.Where(line => line.LineNumber > lineNumber)];
        }
    }

    public LogLine[] Subscribe(ChannelWriter<LogLine> watcher)
    {
        lock (_gate)
        {
            _watchers.Add(watcher);
            return [.. _lines];
        }
    }

    public void Unsubscribe(ChannelWriter<LogLine> watcher)
    {
        lock (_gate)
        {
            _watchers.Remove(watcher);
        }
    }
}
