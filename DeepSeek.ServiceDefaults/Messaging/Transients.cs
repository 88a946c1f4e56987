using System.Net.Sockets;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using Polly;

namespace DeepSeek.ServiceDefaults.Messaging;

/// <summary>Faults that go away by themselves.</summary>
public static class Transients
{
    /// <summary>True when the cause is a database, broker or peer that is away, or two writers that met.</summary>
    public static bool Includes(Exception exception)
    {
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            if (cause is NpgsqlException { IsTransient: true } or SocketException or IOException or TimeoutException
                or HttpRequestException or ExecutionRejectedException or DbUpdateConcurrencyException
                or PostgresException { SqlState: PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected })
            {
                return true;
            }
        }

        return false;
    }
}
