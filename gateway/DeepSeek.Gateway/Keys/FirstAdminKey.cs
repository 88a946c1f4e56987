using DeepSeek.Gateway.Data;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Gateway.Keys;

/// <summary>Makes the first admin key when there has never been any, prints it and leaves it for tools on the same machine.</summary>
internal sealed class FirstAdminKey(
    IDbContextFactory<GatewayDb> contexts, IConfiguration configuration, TimeProvider time) : IHostedService
{
    public const string FileName = "admin.key";
    private const long LockKey = 0x6669_7273_745F_6B65; // "first_ke"

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock({LockKey})", cancellationToken);
        if (await db.ApiKeys.AnyAsync(cancellationToken))
        {
            return;
        }

        var (key, secret) = ApiKeys.Create("admin", Roles.Admin, "service:gateway", time.GetUtcNow());
        db.ApiKeys.Add(key);
        ApiKeys.AuditCreated(db, key);
        await db.SaveChangesAsync(cancellationToken);
        // The file comes before the commit: a crash between them leaves a useless file, never a key that nobody knows.
        var path = Path.Combine(configuration.DataDirectory("gateway"), FileName);
        await WriteAsync(path, secret, cancellationToken);
        await transaction.CommitAsync(cancellationToken);
        Console.Out.WriteLine($"""

            First admin key (shown only now): {secret}
            It is also in {path}, readable by this user only; the command line tool on this machine logs in with it. Delete the file if you do not want that.

            """);
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private static async Task WriteAsync(string path, string secret, CancellationToken cancellationToken)
    {
        var draft = path + ".new";
        File.Delete(draft);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        await using (var writer = new StreamWriter(draft, options))
        {
            await writer.WriteLineAsync(secret.AsMemory(), cancellationToken);
        }

        File.Move(draft, path, overwrite: true);
    }
}
