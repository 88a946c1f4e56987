namespace Aspire.Hosting;

/// <summary>
/// How long until the next health check. Until a resource is healthy for the first time it is asked often, so that what waits
/// for it starts soon; from then on every 30 s while healthy and after 1 to 5 s, growing by 1 s per failure, otherwise.
/// </summary>
internal sealed class PollInterval
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestAtStart = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan WhileHealthy = TimeSpan.FromSeconds(30);
    private const double Growth = 1.2;
    private const int LongestAfterFailure = 5;
    private TimeSpan _atStart = First;
    private bool _wasHealthy;
    private int _failures;

    public TimeSpan Next(bool healthy)
    {
        if (healthy)
        {
            _wasHealthy = true;
            _failures = 0;
            return WhileHealthy;
        }

        if (_wasHealthy)
        {
            return TimeSpan.FromSeconds(Math.Min(++_failures, LongestAfterFailure));
        }

        var interval = _atStart;
        _atStart = _atStart * Growth < LongestAtStart ? _atStart * Growth : LongestAtStart;
        return interval;
    }
}
