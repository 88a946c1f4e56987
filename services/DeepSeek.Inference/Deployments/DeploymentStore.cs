using DeepSeek.Inference.Data;
using DeepSeek.Inference.Serving;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace DeepSeek.Inference.Deployments;

/// <summary>What a replica says of one deployment.</summary>
internal sealed record SlotReport(Guid Deployment, IReadOnlyList<VersionStatus> Versions, long? ServedRevision);

/// <summary>The database as the serving side sees it.</summary>
internal sealed class DeploymentStore(IDbContextFactory<InferenceDb> contexts, NpgsqlDataSource database)
{
    /// <summary>A replica without a beat for so long counts as gone: four may fail, because a busy machine can stall a process for seconds.</summary>
    public static readonly TimeSpan ReplicaLife = TimeSpan.FromSeconds(15);

    /// <summary>How often a replica says that it lives.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromSeconds(3);

    /// <summary>What a replica has said is forgotten after this: one that was only stalled has it again with its next beat.</summary>
    private static readonly TimeSpan Kept = TimeSpan.FromHours(1);

    private const int BeatTimeoutSeconds = 5;

    public async Task<List<Deployment>> ListEnabledAsync(CancellationToken cancellationToken)
    {
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        return await db.Deployments.AsNoTracking().Include(d => d.Version).Where(d => d.Enabled).ToListAsync(cancellationToken);
    }

    public async Task<bool> IsEnabledAsync(string name, CancellationToken cancellationToken)
    {
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        return await db.Deployments.AnyAsync(d => d.Name == name && d.Enabled, cancellationToken);
    }

    /// <summary>Remembers the version for good, and as the deployment's last target.</summary>
    public async Task RecordTargetAsync(Guid deploymentId, ServedModel model, CancellationToken cancellationToken)
    {
        await using var command = database.CreateCommand("""
            with version as (
                insert into served_versions (id, model, version, sha256, recorded_at)
                values ($1, $2, $3, $4, now())
                on conflict (id) do update set sha256 = excluded.sha256
                returning id)
            update deployments set version_id = version.id from version where deployments.id = $5
            """);
        command.Parameters.AddRange(new NpgsqlParameter[]
        {
            new() { Value = model.VersionId }, new() { Value = model.Name }, new() { Value = model.Version },
            new() { Value = model.Sha256 }, new() { Value = deploymentId },
        });
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Says that a replica lives. Times are the database's: the clocks of machines differ.</summary>
    public void Beat(string replica)
    {
        using var command = database.CreateCommand("insert into replicas (replica, seen_at) values ($1, now()) on conflict (replica) do update set seen_at = excluded.seen_at");
        command.CommandTimeout = BeatTimeoutSeconds;
        command.Parameters.Add(new() { Value = replica });
        command.ExecuteNonQuery();
    }

    /// <summary>Replaces what this replica said before; forgets replicas that have long gone.</summary>
    public async Task ReportAsync(string replica, IEnumerable<SlotReport> slots, CancellationToken cancellationToken)
    {
        var rows = slots.SelectMany(s => s.Versions.Select(v => (s.Deployment, Status: v, s.ServedRevision))).ToList();
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                new("delete from replica_versions where replica = $1 or seen_at < now() - $2") { Parameters = { new() { Value = replica }, new() { Value = Kept } } },
                new("delete from replicas where seen_at < now() - $1") { Parameters = { new() { Value = Kept } } },
                new("""
                    insert into replica_versions (replica, deployment_id, version, state, error, revision, attention, seen_at)
                    select $1, d.id, r.version, r.state, r.error, r.revision, r.attention, now()
                    from unnest($2, $3, $4, $5, $6, $7) as r (deployment, version, state, error, revision, attention) join deployments d on d.id = r.deployment
                    on conflict (replica, deployment_id, version) do update
                    set state = excluded.state, error = excluded.error, revision = excluded.revision, attention = excluded.attention, seen_at = excluded.seen_at
                    """)
                {
                    Parameters =
                    {
                        new() { Value = replica },
                        new() { Value = rows.Select(r => r.Deployment).ToArray() },
                        new() { Value = rows.Select(r => r.Status.Version).ToArray() },
                        new() { Value = rows.Select(r => r.Status.State.ToString().ToLowerInvariant()).ToArray() },
                        new() { Value = rows.Select(r => r.Status.Error).ToArray(), NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Array | NpgsqlTypes.NpgsqlDbType.Text },
                        new() { Value = rows.Select(r => r.ServedRevision).ToArray() },
                        new() { Value = rows.Select(r => r.Status.Attention?.ToString()).ToArray(), NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Array | NpgsqlTypes.NpgsqlDbType.Text },
                    },
                },
            },
        };
        await batch.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Forgets this replica at its regular end.</summary>
    public async Task LeaveAsync(string replica)
    {
        await using var command = database.CreateCommand("with gone as (delete from replicas where replica = $1) delete from replica_versions where replica = $1");
        command.Parameters.Add(new() { Value = replica });
        await command.ExecuteNonQueryAsync();
    }
}
