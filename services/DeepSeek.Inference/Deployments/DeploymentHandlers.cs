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
        [AsParameters] PageRequest page, DeploymentReader reader, CancellationToken cancellationToken) =>
        TypedResults.Ok(await reader.ListAsync(page, cancellationToken));

    public static async Task<Ok<DeploymentDocument>> GetAsync(
        string name, HttpContext http, InferenceDb db, DeploymentReader reader, CancellationToken cancellationToken)
    {
        var deployment = await db.Deployments.AsNoTracking().Include(d => d.Version).SingleOrDefaultAsync(d => d.Name == name, cancellationToken)
            ?? throw Problems.NotFound("deployment", name);
        ETags.Set(http, deployment.Revision);
        return TypedResults.Ok(await reader.ReadAsync(deployment, cancellationToken));
    }

    /// <summary>200 when every living replica serves what was asked for, 202 when some are still about to.</summary>
    public static async Task<Results<Ok<DeploymentDocument>, Accepted<DeploymentDocument>>> PutAsync(
        string name, PutDeployment body, HttpContext http, InferenceDb db, RegistryClient registry, DeploymentReader reader,
        DeploymentStore store, ReconcileSignal signal, IOptions<InferenceOptions> options, TimeProvider time, CancellationToken cancellationToken)
    {
        Validate(name, body);
        var model = await ResolveAsync(body, registry, cancellationToken);
        var deployment = await SaveAsync(name, body, http, db, time, cancellationToken);
        await store.RecordTargetAsync(deployment.Id, model, cancellationToken);
        signal.Raise();
        var document = await reader.WaitAsync(
            deployment, new Target(model, Reconciler.Limits(deployment)), TimeSpan.FromSeconds(options.Value.ChangeWaitSeconds), cancellationToken);
        ETags.Set(http, deployment.Revision);
        return document.State == DeploymentState.Ready ? TypedResults.Ok(document) : TypedResults.Accepted($"/api/v1/deployments/{name}", document);
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

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
    private static partial Regex Names();
}
