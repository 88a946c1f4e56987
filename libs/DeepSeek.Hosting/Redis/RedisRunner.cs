using System.Globalization;
using System.Text;

namespace Aspire.Hosting;

/// <summary>Runs a Redis server as a process.</summary>
internal sealed class RedisRunner(RedisResource server, LocalData data) : ILocalServer
{
    public Task<ProcessSpec> PrepareAsync(ProcessLauncher launcher, CancellationToken cancellationToken)
    {
        var program = ServerPrograms.Find("redis-server") ?? throw ServerPrograms.Missing("Redis", "redis-server");
        var folder = data.PrivateFolder("servers", server.Name);
        var path = Path.Combine(folder, "redis.conf");
        File.WriteAllText(path, Configuration(folder), Encoding.ASCII);
        return Task.FromResult(new ProcessSpec(program, [path], folder) { StopsChildren = false });
    }

    // In a file of a private folder: arguments could be read by every user of the machine.
    private string Configuration(string folder)
    {
        var text = new StringBuilder()
            .Append(CultureInfo.InvariantCulture, $"port {server.PrimaryEndpoint.Port}\n")
            .Append(CultureInfo.InvariantCulture, $"dir \"{folder}\"\n")
            .Append("bind 127.0.0.1 -::1\ndaemonize no\nappendonly no\n");
        if (server.PasswordParameter is { } password)
        {
            text.Append(CultureInfo.InvariantCulture, $"requirepass \"{password.Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"\n");
        }

        text.Append(server.TryGetLastAnnotation<RedisPersistenceAnnotation>(out var persistence)
            ? $"save {(long)(persistence.Interval ?? TimeSpan.FromSeconds(60)).TotalSeconds} {persistence.KeysChangedThreshold}\n"
            : "save \"\"\n");
        return text.ToString();
    }
}
