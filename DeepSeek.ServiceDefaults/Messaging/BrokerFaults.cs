using System.Net.Sockets;
using MassTransit;
using RabbitMQ.Client.Exceptions;

namespace DeepSeek.ServiceDefaults.Messaging;

/// <summary>Faults of the broker or the way to it, which no message is the cause of.</summary>
internal static class BrokerFaults
{
    /// <summary>AMQP 0-9-1 closes a channel with 403 to 406 for what was asked of it; every other code ends a connection.</summary>
    private const int FirstOfTheRequest = 403;
    private const int LastOfTheRequest = 406;

    public static bool Includes(Exception fault)
    {
        for (var cause = fault; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                case OperationInterruptedException { ShutdownReason.ReplyCode: >= FirstOfTheRequest and <= LastOfTheRequest }:
                    return false;
                case OperationInterruptedException or BrokerUnreachableException or ConnectFailureException or ConnectionException
                    or TransportUnavailableException or ShutDownException or SocketException or IOException or ObjectDisposedException
                    or OperationCanceledException:
                    return true;
            }
        }

        return false;
    }
}
