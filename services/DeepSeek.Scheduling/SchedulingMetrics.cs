using System.Diagnostics.Metrics;

namespace DeepSeek.Scheduling;

public sealed class SchedulingMetrics
{
    private readonly Counter<long> _preempted;
    private readonly Counter<long> _evicted;
    private readonly Counter<long> _ended;
    private readonly Histogram<double> _admissionWait;

    public SchedulingMetrics(IMeterFactory meters)
    {
        var meter = meters.Create("DeepSeek.Scheduling");
        _preempted = meter.CreateCounter<long>("deepseek.scheduling.preempted", "{job}", "Running jobs asked to yield.");
        _evicted = meter.CreateCounter<long>("deepseek.scheduling.evicted", "{attempt}", "Attempts that ended without their worker's word.");
        _ended = meter.CreateCounter<long>("deepseek.scheduling.ended", "{job}", "Jobs that reached a final state.");
        _admissionWait = meter.CreateHistogram<double>("deepseek.scheduling.admission_wait", "s", "From submission to the first start.");
    }

    public void Preempted(string kind) => _preempted.Add(1, new KeyValuePair<string, object?>("kind", kind));

    public void Evicted(string kind, string reason) => _evicted.Add(1, new("kind", kind), new("reason", reason));

    public void Ended(string kind, string state) => _ended.Add(1, new("kind", kind), new("state", state));

    public void Admitted(string kind, TimeSpan waited) => _admissionWait.Record(waited.TotalSeconds, new KeyValuePair<string, object?>("kind", kind));
}
