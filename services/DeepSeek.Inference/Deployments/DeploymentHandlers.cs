using System.Text.RegularExpressions;
using DeepSeek.Contracts.Inference;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Deployments;

internal static partial class DeploymentHandlers
{
    public static async Task<Ok<Page<DeploymentDocument>>> ListAsync(
        [AsParameters] PageRequest page, InferenceDb db, DeploymentTable table, TimeProvider time, CancellationToken cancellationToken)
    {
        var replicas = (await Living(db, time).ToListAsync(cancellationToken)).ToLookup(r => r.DeploymentId);
        return TypedResults.Ok(await db.Deployments.AsNoTracking().ToPageAsync(
            d => d.Name, page, d => Document(d, table, replicas[d.Id]), cancellationToken, descending: false));
    }

    public static async Task<Ok<DeploymentDocument>> GetAsync(
        string name, HttpContext http, InferenceDb db, DeploymentTable table, TimeProvider time, CancellationToken cancellationToken)
    {
        var deployment = await db.Deployments.AsNoTracking().SingleOrDefaultAsync(d => d.Name == name, cancellationToken)
            ?? throw Problems.NotFound("deployment", name);
        ETags.Set(http, deployment.Revision);
        return TypedResults.Ok(await DocumentAsync(deployment, db, table, time, cancellationToken));
    }

    public static async Task<Results<Ok<DeploymentDocument>, Accepted<DeploymentDocument>>> PutAsync(
        string name, PutDeployment body, HttpContext http, InferenceDb db, RegistryClient registry, DeploymentTable table,
        DeploymentStore store, ReconcileSignal signal, IOptions<InferenceOptions> options, TimeProvider time, CancellationToken cancellationToken)
    {
        Validate(name, body);
        var model = await ResolveAsync(body, registry, cancellationToken);
        var deployment = await SaveAsync(name, body, http, db, time, cancellationToken);
        await store.RecordTargetAsync(deployment.Id, model, cancellationToken);
        signal.Raise();
        var ready = await WaitAsync(
            table, name, new Target(model, Reconciler.Limits(deployment)), TimeSpan.FromSeconds(options.Value.ChangeWaitSeconds), cancellationToken);
        ETags.Set(http, deployment.Revision);
        var document = await DocumentAsync(deployment, db, table, time, cancellationToken);
        return ready ? TypedResults.Ok(document) : TypedResults.Accepted($"/api/v1/deployments/{name}", document);
    }

    public static async Task<NoContent> DeleteAsync(
        string name, HttpContext http, InferenceDb db, DeploymentTable table, ReconcileSignal signal, TimeProvider time,
        CancellationToken cancellationToken)
    {
        var deployment = await db.Deployments.SingleOrDefaultAsync(d => d.Name == name, cancellationToken)
            ?? throw Problems.NotFound("deployment", name);
        ETags.Check(http, deployment.Revision);
        db.Remove(deployment);
        db.Publish(new DeploymentChanged { DeploymentId = deployment.Id, Name = name, At = time.GetUtcNow() });
        db.Audit(http.User.Actor(), "deployment.deleted", $"deployment/{name}", new { deployment.Model, deployment.Ref });
        await SaveChangesAsync(db, cancellationToken);
        if (table.Find(name) is { } slot && slot.Id == deployment.Id)
        {
            table.Remove(slot);
        }

        signal.Raise();
        return TypedResults.NoContent();
    }

    /// <summary>Switches a deployment on or off for all replicas.</summary>
    public static async Task EnableAsync(
        string name, bool enabled, HttpContext http, InferenceDb db, ReconcileSignal signal, TimeProvider time, CancellationToken cancellationToken)
    {
        var deployment = await db.Deployments.SingleOrDefaultAsync(d => d.Name == name, cancellationToken)
            ?? throw Problems.NotFound("model", name);
        if (deployment.Enabled != enabled)
        {
            deployment.Enabled = enabled;
            deployment.Revision++;
            deployment.UpdatedAt = time.GetUtcNow();
            db.Publish(new DeploymentChanged { DeploymentId = deployment.Id, Name = name, At = deployment.UpdatedAt });
            db.Audit(http.User.Actor(), enabled ? "deployment.loaded" : "deployment.unloaded", $"deployment/{name}");
            await SaveChangesAsync(db, cancellationToken);
        }

        signal.Raise();
    }

    private static async Task<Deployment> SaveAsync(
        string name, PutDeployment body, HttpContext http, InferenceDb db, TimeProvider time, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var deployment = await db.Deployments.SingleOrDefaultAsync(d => d.Name == name, cancellationToken);
        var action = deployment is null ? "deployment.created" : "deployment.changed";
        if (deployment is null)
        {
            if (http.Request.Headers.IfMatch.Count > 0)
            {
                throw new ApiProblem(StatusCodes.Status412PreconditionFailed, "Precondition failed", "The deployment does not exist (any more).");
            }

            deployment = new Deployment
            {
                Id = Guid.CreateVersion7(), Name = name, Model = "", Ref = "", Enabled = true, MaxBatch = 0, MaxDelayMs = 0, MaxQueue = 0,
                Revision = 0, CreatedBy = http.User.Actor(), CreatedAt = now, UpdatedAt = now,
            };
            db.Add(deployment);
        }
        else
        {
            ETags.RefuseExisting(http);
            ETags.Check(http, deployment.Revision);
        }

        deployment.Model = body.Model;
        deployment.Ref = Reference(body);
        deployment.Enabled = true;
        deployment.MaxBatch = body.MaxBatch ?? PutDeployment.DefaultMaxBatch;
        deployment.MaxDelayMs = body.MaxDelayMs ?? 0;
        deployment.MaxQueue = body.MaxQueue ?? PutDeployment.DefaultMaxQueue;
        deployment.Revision++;
        deployment.UpdatedAt = now;
        db.Publish(new DeploymentChanged { DeploymentId = deployment.Id, Name = name, At = now });
        db.Audit(http.User.Actor(), action, $"deployment/{name}",
            new { deployment.Model, deployment.Ref, deployment.MaxBatch, deployment.MaxDelayMs, deployment.MaxQueue });
        await SaveChangesAsync(db, cancellationToken);
        return deployment;
    }

    private static async Task SaveChangesAsync(InferenceDb db, CancellationToken cancellationToken)
    {
        try
        {
            await db.SaveChangesAsync(cancellationToken);
        }
        catch (DbUpdateException fault) when (fault is DbUpdateConcurrencyException
            || fault.InnerException is Npgsql.PostgresException { SqlState: Npgsql.PostgresErrorCodes.UniqueViolation })
        {
            throw Problems.Conflict("Somebody changed this deployment at the same time; read it again and repeat the change.");
        }
    }

    private static async Task<ServedModel> ResolveAsync(PutDeployment body, RegistryClient registry, CancellationToken cancellationToken)
    {
        try
        {
            return await registry.ResolveAsync(body.Model, Reference(body), cancellationToken)
                ?? throw Problems.Invalid("ref", $"the registry has no model '{body.Model}' with a version or alias '{Reference(body)}'; GET /api/v1/models/{{name}}/versions lists them.");
        }
        catch (InvalidModelException fault)
        {
            throw Problems.Invalid("ref", fault.Message);
        }
        catch (HttpRequestException)
        {
            throw Problems.Unavailable("The registry does not answer, so the reference cannot be resolved; try again shortly.", TimeSpan.FromSeconds(5));
        }
    }

    private static async Task<bool> WaitAsync(
        DeploymentTable table, string name, Target target, TimeSpan patience, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(patience);
        try
        {
            while (true)
            {
                var slot = table.Find(name);
                var changed = slot?.Changed ?? Task.Delay(TimeSpan.FromMilliseconds(10), deadline.Token);
                if (slot is not null && slot.Serves(target))
                {
                    return true;
                }

                if (slot?.Target == target && slot.Hopeless)
                {
                    return false;
                }

                await changed.WaitAsync(deadline.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private static void Validate(string name, PutDeployment body)
    {
        var errors = new Dictionary<string, string[]>();
        Check(Names().IsMatch(name), "name", "must be 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit.");
        Check(body.Model.Length is > 0 and <= 128, "model", "must be the name of a registered model.");
        Check(Reference(body).Length is > 0 and <= 128, "ref", "must be an alias or a version's number.");
        Check(body.MaxBatch is null or (>= 0 and <= PutDeployment.LargestBatch), "maxBatch", $"must lie between 0 and {PutDeployment.LargestBatch}.");
        Check(body.MaxDelayMs is null or (>= 0 and <= PutDeployment.LongestDelayMs), "maxDelayMs", $"must lie between 0 and {PutDeployment.LongestDelayMs}.");
        Check(body.MaxQueue is null or (>= 1 and <= PutDeployment.LargestQueue), "maxQueue", $"must lie between 1 and {PutDeployment.LargestQueue}.");
        if (errors.Count > 0)
        {
            throw Problems.Invalid(errors);
        }

        void Check(bool holds, string field, string remedy)
        {
            if (!holds)
            {
                errors.Add(field, [remedy]);
            }
        }
    }

    /// <summary>People write aliases with the @ of model@alias.</summary>
    private static string Reference(PutDeployment body) => body.Ref.TrimStart('@');

    private static IQueryable<ReplicaVersion> Living(InferenceDb db, TimeProvider time)
    {
        var since = time.GetUtcNow() - DeploymentStore.ReplicaLife;
        return db.ReplicaVersions.AsNoTracking().Where(r => r.SeenAt >= since);
    }

    private static async Task<DeploymentDocument> DocumentAsync(
        Deployment deployment, InferenceDb db, DeploymentTable table, TimeProvider time, CancellationToken cancellationToken) =>
        Document(deployment, table, await Living(db, time).Where(r => r.DeploymentId == deployment.Id).ToListAsync(cancellationToken));

    private static DeploymentDocument Document(Deployment deployment, DeploymentTable table, IEnumerable<ReplicaVersion> replicas)
    {
        var slot = table.Find(deployment.Name);
        var own = slot?.Id == deployment.Id ? slot.Versions() : [];
        var others = replicas.Where(r => r.Replica != table.Replica).GroupBy(r => r.Replica, StringComparer.Ordinal).Select(g =>
            new ReplicaDocument(g.Key, [.. g.OrderBy(r => r.Version).Select(r =>
                new VersionStatus(r.Version, Enum.Parse<VersionState>(r.State, ignoreCase: true), r.Error))]));
        return new DeploymentDocument
        {
            Id = deployment.Id,
            Name = deployment.Name,
            Model = deployment.Model,
            Ref = deployment.Ref,
            Enabled = deployment.Enabled,
            MaxBatch = deployment.MaxBatch,
            MaxDelayMs = deployment.MaxDelayMs,
            MaxQueue = deployment.MaxQueue,
            Versions = own,
            Error = slot?.Id == deployment.Id ? slot.Error : null,
            Replicas = [.. others.Append(new ReplicaDocument(table.Replica, own)).OrderBy(r => r.Replica, StringComparer.Ordinal)],
            CreatedBy = deployment.CreatedBy,
            CreatedAt = deployment.CreatedAt,
            UpdatedAt = deployment.UpdatedAt,
        };
    }

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
    private static partial Regex Names();
}
