using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Aspire.Hosting;

/// <summary>Runs a PostgreSQL server as a process.</summary>
internal sealed class PostgresRunner(PostgresServerResource server, LocalData data) : ILocalServer
{
    // The server refuses to run as root; Debian's package brings this user.
    private static readonly string? User = Environment.IsPrivilegedProcess ? "postgres" : null;

    public async Task<ProcessSpec> PrepareAsync(ProcessLauncher launcher, CancellationToken cancellationToken)
    {
        var folder = data.PassableFolder("servers", server.Name);
        var cluster = Path.Combine(folder, "data");
        var programs = PostgresPrograms.Find(cluster);
        var userName = await server.UserNameReference.GetValueAsync(cancellationToken).ConfigureAwait(false) ?? "postgres";
        if (!Directory.Exists(cluster))
        {
            await CreateAsync(launcher, programs, folder, cluster, userName, cancellationToken).ConfigureAwait(false);
        }

        PostgresPidFile.RemoveStale(cluster);
        await SetPasswordAsync(launcher, programs, folder, cluster, userName, cancellationToken).ConfigureAwait(false);
        return new ProcessSpec(Path.Combine(programs, "postgres"), Arguments(cluster), folder)
        {
            User = User,
            // Smart shutdown, which SIGTERM asks for, would wait for every client to leave.
            StopSignal = Signals.Interrupt,
            StopsChildren = false,
        };
    }

    // Made aside and renamed, so that a cluster is whole or not there.
    private async Task CreateAsync(ProcessLauncher launcher, string programs, string folder, string cluster, string userName, CancellationToken cancellationToken)
    {
        var aside = cluster + ".new";
        if (Directory.Exists(aside))
        {
            Directory.Delete(aside, recursive: true);
        }

        await CheckReachAsync(launcher, folder, cancellationToken).ConfigureAwait(false);
        string[] owner = User is null ? [] : ["-o", User, "-g", User];
        await launcher.RunAsync(server.Name, new ProcessSpec("install", ["-d", "-m", "700", .. owner, aside], folder), cancellationToken).ConfigureAwait(false);
        string[] arguments = ["-D", aside, "-U", userName, "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-instructions"];
        await launcher.RunAsync(server.Name, new ProcessSpec(Path.Combine(programs, "initdb"), arguments, folder) { User = User }, cancellationToken).ConfigureAwait(false);
        File.WriteAllText(Path.Combine(aside, "pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n");
        Directory.Move(aside, cluster);
    }

    private async Task CheckReachAsync(ProcessLauncher launcher, string folder, CancellationToken cancellationToken)
    {
        try
        {
            await launcher.RunAsync(server.Name, new ProcessSpec("test", ["-x", folder], "/") { User = User }, cancellationToken).ConfigureAwait(false);
        }
        catch (DistributedApplicationException) when (User is not null)
        {
            throw new DistributedApplicationException($"The user '{User}', as whom PostgreSQL must run, cannot reach {folder}. Let others pass through the folders above it (chmod o+x), or set {LocalData.Variable} to another folder.");
        }
    }

    // Also when the password has changed since, for example because the kept parameters were lost.
    private async Task SetPasswordAsync(ProcessLauncher launcher, string programs, string folder, string cluster, string userName, CancellationToken cancellationToken)
    {
        var password = server.PasswordParameter.Value;
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{userName}:{password}")));
        var note = Path.Combine(folder, "password.sha256");
        if (File.Exists(note) && File.ReadAllText(note) == hash)
        {
            return;
        }

        var sql = $"alter user \"{userName.Replace("\"", "\"\"", StringComparison.Ordinal)}\" password '{password.Replace("'", "''", StringComparison.Ordinal)}'\n";
        string[] arguments = ["--single", "-D", cluster, "-c", "log_statement=none", "-c", "log_min_error_statement=panic", "postgres"];
        await launcher.RunAsync(server.Name, new ProcessSpec(Path.Combine(programs, "postgres"), arguments, folder) { User = User, Input = sql }, cancellationToken).ConfigureAwait(false);
        File.WriteAllText(note, hash);
    }

    private string[] Arguments(string cluster) =>
    [
        "-D", cluster,
        "-p", server.PrimaryEndpoint.Port.ToString(CultureInfo.InvariantCulture),
        "-c", "listen_addresses=localhost",
        "-c", "unix_socket_directories=",
        // Every service keeps a pool of its own.
        "-c", "max_connections=300",
        "-c", "shared_buffers=64MB",
        "-c", "log_min_messages=warning",
    ];
}
