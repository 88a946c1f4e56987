using System.Buffers.Binary;
using DeepSeek.Scheduling.Signals;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>
/// A service answers 202 with a job's id as soon as the job is in its outbox; Scheduling hears of it a moment later. Whoever asks for it meanwhile
/// waits for it here instead of being told that there is no such job. The id tells how young it is: it is a UUID of version 7.
/// </summary>
internal static class JobArrival
{
    /// <summary>How long after its making a job may be under way; after that an unknown id is one that nobody has given out.</summary>
    private static readonly TimeSpan Youth = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Arrivals are heard of; the look in between covers a lost listener.</summary>
    private static readonly TimeSpan LookAnyway = TimeSpan.FromSeconds(1);

    /// <summary>For a group of routes with an <c>id</c>.</summary>
    public static RouteGroupBuilder AwaitsTheJob(this RouteGroupBuilder routes) => routes.AddEndpointFilter(async (context, next) =>
    {
        var http = context.HttpContext;
        if (Guid.TryParse((string?)http.GetRouteValue("id"), out var id))
        {
            var services = http.RequestServices;
            await AwaitAsync(id, services.GetRequiredService<SchedulingDb>(), services.GetRequiredService<JobSignals>(), services.GetRequiredService<TimeProvider>(), http.RequestAborted);
        }

        return await next(context);
    });

    private static async Task AwaitAsync(Guid id, SchedulingDb db, JobSignals signals, TimeProvider clock, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (MadeAt(id) is not { } made || (now - made).Duration() > Youth)
        {
            return;
        }

        using var arrival = signals.Subscribe(id);
        for (var deadline = now + Patience; now < deadline && !await db.Jobs.AnyAsync(job => job.Id == id, cancellationToken); now = clock.GetUtcNow())
        {
            await arrival.WaitAsync(LookAnyway, clock, cancellationToken);
        }
    }

    /// <summary>RFC 9562, section 5.7: the first 48 bits are milliseconds since 1970.</summary>
    private static DateTimeOffset? MadeAt(Guid id)
    {
        if (id.Version != 7)
        {
            return null;
        }

        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes, bigEndian: true, out _);
        return DateTimeOffset.FromUnixTimeMilliseconds(BinaryPrimitives.ReadInt64BigEndian(bytes) >>> 16);
    }
}
