using System.Diagnostics.Metrics;

namespace DeepSeek.Gateway;

internal sealed class GatewayMetrics
{
    private readonly Counter<long> _limited;
    private readonly Counter<long> _cacheAway;
    private readonly Counter<long> _replayed;
    private readonly Counter<long> _forwardingFaults;

    public GatewayMetrics(IMeterFactory meters)
    {
        var meter = meters.Create("DeepSeek.Gateway");
        _limited = meter.CreateCounter<long>("deepseek.gateway.requests_limited", "{request}", "Requests refused by the rate limit");
        _cacheAway = meter.CreateCounter<long>("deepseek.gateway.cache_unavailable", "{request}", "Requests for which Redis did not answer");
        _replayed = meter.CreateCounter<long>("deepseek.gateway.responses_replayed", "{response}", "Responses given again for a repeated Idempotency-Key");
        _forwardingFaults = meter.CreateCounter<long>("deepseek.gateway.forwarding_faults", "{request}", "Requests that a service did not answer");
    }

    public void Limited() => _limited.Add(1);
    public void CacheAway(string use) => _cacheAway.Add(1, new KeyValuePair<string, object?>("use", use));
    public void Replayed() => _replayed.Add(1);
    public void ForwardingFault(string service) => _forwardingFaults.Add(1, new KeyValuePair<string, object?>("service", service));
}
