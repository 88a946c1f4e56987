namespace Aspire.Hosting;

/// <summary>How long a crashed process waits: half a second, doubled each time up to 30 s; from the start again after a minute of life.</summary>
internal sealed class RestartDelay
{
    private static readonly TimeSpan First = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Stable = TimeSpan.FromMinutes(1);
    private int _crashes;

    public TimeSpan Next(TimeSpan lived)
    {
        _crashes = lived >= Stable ? 1 : _crashes + 1;
        var delay = First * Math.Pow(2, Math.Min(_crashes - 1, 10));
        return delay < Longest ? delay : Longest;
    }
}
