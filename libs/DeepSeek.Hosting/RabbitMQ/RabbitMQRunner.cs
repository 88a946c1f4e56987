using System.Globalization;
using System.Text;

namespace Aspire.Hosting;

/// <summary>Runs a RabbitMQ broker as a process, with everything it normally shares with the machine in folders and on ports of its own.</summary>
internal sealed class RabbitMQRunner(RabbitMQServerResource broker, LocalData data) : ILocalServer
{
    // Debian's wrapper in /usr/sbin would change the user; this is what it wraps.
    private const string DebianProgram = "/usr/lib/rabbitmq/bin/rabbitmq-server";

    // One scheduler that sleeps when idle; no input, so that the shell script gives way to the Erlang machine itself.
    private const string ErlangArguments = "-noinput +B i +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none";

    public async Task<ProcessSpec> PrepareAsync(ProcessLauncher launcher, CancellationToken cancellationToken)
    {
        var program = File.Exists(DebianProgram) ? DebianProgram
            : ServerPrograms.Find("rabbitmq-server") ?? throw ServerPrograms.Missing("RabbitMQ", "rabbitmq-server");
        var folder = data.PrivateFolder("servers", broker.Name);
        var userName = await broker.UserNameReference.GetValueAsync(cancellationToken).ConfigureAwait(false) ?? "guest";
        var definitions = Path.Combine(folder, "definitions.json");
        File.WriteAllText(definitions, RabbitMQDefinitions.Write(userName, broker.PasswordParameter.Value));
        File.WriteAllText(Path.Combine(folder, "rabbitmq.conf"), Configuration(definitions), Encoding.ASCII);
        File.WriteAllText(Path.Combine(folder, "enabled_plugins"), broker.ManagementEndpoint.Exists ? "[rabbitmq_management].\n" : "[].\n", Encoding.ASCII);
        return new ProcessSpec(program, [], folder) { Environment = Variables(folder), StopsChildren = false };
    }

    private string Configuration(string definitions)
    {
        var text = new StringBuilder()
            .Append(CultureInfo.InvariantCulture, $"listeners.tcp.1 = 127.0.0.1:{broker.PrimaryEndpoint.Port}\n")
            .Append(CultureInfo.InvariantCulture, $"load_definitions = {definitions}\n")
            .Append("log.console = true\nlog.console.level = warning\nlog.file = rabbit.log\nlog.file.level = info\nlog.file.rotation.size = 10485760\nlog.file.rotation.count = 3\n");
        if (broker.ManagementEndpoint.Exists)
        {
            text.Append(CultureInfo.InvariantCulture, $"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {broker.ManagementEndpoint.Port}\n");
        }

        return text.ToString();
    }

    private Dictionary<string, string?> Variables(string folder) => new()
    {
        ["HOME"] = folder,
        ["RABBITMQ_NODENAME"] = $"{broker.Name}@localhost",
        ["RABBITMQ_CONF_ENV_FILE"] = Path.Combine(folder, "rabbitmq-env.conf"),
        ["RABBITMQ_CONFIG_FILE"] = Path.Combine(folder, "rabbitmq.conf"),
        ["RABBITMQ_ADVANCED_CONFIG_FILE"] = Path.Combine(folder, "advanced.config"),
        ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(folder, "enabled_plugins"),
        ["RABBITMQ_MNESIA_BASE"] = Path.Combine(folder, "mnesia"),
        ["RABBITMQ_LOG_BASE"] = Path.Combine(folder, "log"),
        ["RABBITMQ_DIST_PORT"] = PortPool.Take().ToString(CultureInfo.InvariantCulture),
        ["RABBITMQ_ALLOW_INPUT"] = "true",
        ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = ErlangArguments,
        // The port mapper daemon it starts is its own, and ends with it.
        ["ERL_EPMD_PORT"] = PortPool.Take().ToString(CultureInfo.InvariantCulture),
        ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
        ["ERL_CRASH_DUMP_SECONDS"] = "0",
    };
}
