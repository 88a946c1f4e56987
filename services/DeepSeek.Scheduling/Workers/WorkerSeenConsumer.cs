using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Signals;
using DeepSeek.ServiceDefaults;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Workers;

/// <summary>Keeps the table of workers; needs no inbox, as the newest sign of life is all that counts.</summary>
public sealed class WorkerSeenConsumer(SchedulingDb db, JobSignals signals, TimeProvider clock) : IConsumer<WorkerSeen>
{
    public async Task Consume(ConsumeContext<WorkerSeen> context)
    {
        var seen = context.Message;
        var now = clock.GetUtcNow();
        var known = await db.Workers.AsNoTracking().SingleOrDefaultAsync(worker => worker.Id == seen.WorkerId, context.CancellationToken);
        var devices = seen.Devices.Count > 0 ? JsonSerializer.Serialize(seen.Devices, PlatformJson.Options) : null;
        await db.Database.ExecuteSqlAsync($"""
            insert into workers (id, kind, slots, busy, host, seen_at, rating, devices)
            values ({seen.WorkerId}, {seen.Kind}, {seen.Slots}, {seen.Busy}, {seen.Host}, {now}, {seen.Rating}, {devices})
            on conflict (id) do update set slots = excluded.slots, busy = excluded.busy, seen_at = excluded.seen_at, rating = excluded.rating, devices = excluded.devices
            """, context.CancellationToken);
        if (known?.Slots != seen.Slots)
        {
            signals.Wake(null);
        }
    }
}
