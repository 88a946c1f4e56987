using DeepSeek.Inference.Data;
using DeepSeek.Onnx.Runtime;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Deployments;

/// <summary>Deployments as the API tells of them: of this replica what it holds now, of the others what they have said last.</summary>
internal sealed class DeploymentReader(InferenceDb db, DeploymentTable table, RegistryClient registry, ReconcileSignal signal, IOptions<InferenceOptions> options, TimeProvider time)
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);

    public async Task<Page<DeploymentDocument>> ListAsync(PageRequest page, CancellationToken cancellationToken)
    {
        var living = await LivingAsync(cancellationToken);
        var versions = (await db.ReplicaVersions.AsNoTracking().ToListAsync(cancellationToken)).ToLookup(r => r.DeploymentId);
        return await db.Deployments.AsNoTracking().Include(d => d.Version).ToPageAsync(
            d => d.Name, page, d => Document(d, d.Version?.Version, living, versions[d.Id]), cancellationToken, descending: false);
    }

    /// <summary>The deployment with the version that its reference points to now, which may have moved before any replica has heard of it.</summary>
    public async Task<DeploymentDocument> ReadAsync(Deployment deployment, CancellationToken cancellationToken)
    {
        var known = deployment.VersionId;
        var target = deployment.Version?.Version;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(options.Value.ResolveWaitSeconds));
        try
        {
            if (await registry.ResolveAsync(deployment.Model, deployment.Ref, limit.Token) is { } found && found.VersionId != known)
            {
                target = found.Version;
                signal.Raise();
            }
        }
        catch (Exception) when (!cancellationToken.IsCancellationRequested)
        {
            // The registry is away: replicas keep to the version known last, and so does this.
        }

        return await DocumentAsync(deployment, target, cancellationToken);
    }

    /// <summary>Waits until every living replica serves <paramref name="target"/>, or none will; returns the state reached within the time.</summary>
    public async Task<DeploymentDocument> WaitAsync(Deployment deployment, Target target, TimeSpan patience, CancellationToken cancellationToken)
    {
        for (var deadline = time.GetUtcNow() + patience; ; await Task.Delay(Step, time, cancellationToken))
        {
            var document = await DocumentAsync(deployment, target.Model.Version, cancellationToken);
            if (document.State != DeploymentState.Rolling || time.GetUtcNow() >= deadline)
            {
                return document;
            }
        }
    }

    private async Task<DeploymentDocument> DocumentAsync(Deployment deployment, int? target, CancellationToken cancellationToken) =>
        Document(deployment, target, await LivingAsync(cancellationToken), await db.ReplicaVersions.AsNoTracking().Where(r => r.DeploymentId == deployment.Id).ToListAsync(cancellationToken));

    private Task<List<string>> LivingAsync(CancellationToken cancellationToken) =>
        db.Replicas.FromSql($"select * from replicas where seen_at >= now() - {DeploymentStore.ReplicaLife}").AsNoTracking()
            .Where(r => r.Name != table.Replica).Select(r => r.Name).ToListAsync(cancellationToken);

    private DeploymentDocument Document(Deployment deployment, int? target, List<string> living, IEnumerable<ReplicaVersion> reported)
    {
        var slot = table.Find(deployment.Name) is { } found && found.Id == deployment.Id ? found : null;
        var byReplica = reported.ToLookup(r => r.Replica, StringComparer.Ordinal);
        var replicas = living.Select(name => Of(name, byReplica[name])).Append(
            new ReplicaDocument(table.Replica, slot?.Versions() ?? [], slot?.ServedRevision)).OrderBy(r => r.Replica, StringComparer.Ordinal).ToList();
        return new DeploymentDocument
        {
            Id = deployment.Id,
            Name = deployment.Name,
            Model = deployment.Model,
            Ref = deployment.Ref,
            Enabled = deployment.Enabled,
            State = !deployment.Enabled ? DeploymentState.Disabled : StateOf(deployment.Revision, target, slot, replicas),
            TargetVersion = target,
            MaxBatch = deployment.MaxBatch,
            MaxDelayMs = deployment.MaxDelayMs,
            MaxQueue = deployment.MaxQueue,
            Versions = slot?.Versions() ?? [],
            Attention = slot?.Current?.Attention,
            Error = slot?.Error,
            Replicas = replicas,
            CreatedBy = deployment.CreatedBy,
            CreatedAt = deployment.CreatedAt,
            UpdatedAt = deployment.UpdatedAt,
        };
    }

    private static ReplicaDocument Of(string name, IEnumerable<ReplicaVersion> versions) => new(
        name,
        [.. versions.OrderBy(r => r.Version).Select(r => new VersionStatus(
            r.Version, Enum.Parse<VersionState>(r.State, ignoreCase: true), r.Error, r.Attention is { } attention ? Enum.Parse<ServedAttention>(attention, ignoreCase: true) : null))],
        versions.Max(r => r.Revision));

    private static DeploymentState StateOf(long revision, int? target, DeploymentSlot? slot, List<ReplicaDocument> replicas)
    {
        bool Is(ReplicaDocument replica, VersionState state) => replica.Versions.Any(v => v.Version == target && v.State == state);
        if (replicas.All(r => r.ServedRevision >= revision && Is(r, VersionState.Ready)))
        {
            return DeploymentState.Ready;
        }

        // A reference that points to nothing leaves a slot without a target.
        return replicas.Any(r => Is(r, VersionState.Failed)) || (slot is { Target: null, Hopeless: true } && slot.AimedRevision >= revision)
            ? DeploymentState.Failed
            : DeploymentState.Rolling;
    }
}
