using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry;

internal static class RegistryApi
{
    public static void MapRegistryApi(this WebApplication app)
    {
        var api = app.MapGroup("/api/v1").RequireAuthorization(Policies.Reader);
        MapBlobs(api);
        MapModels(api);

        var audit = api.MapGroup("/audit").WithTags("Audit");
        audit.MapGet("/", AuditHandlers.ListAsync).WithName("ListAudit").WithSummary("Entries of the audit log, newest first");
        audit.MapGet("/verify", AuditHandlers.VerifyAsync).WithName("VerifyAudit").WithSummary("Check the whole log; names the first broken entry");
    }

    private static void MapBlobs(RouteGroupBuilder api)
    {
        var blobs = api.MapGroup("/blobs/{sha256}").WithTags("Blobs");
        blobs.MapPut("/", BlobHandlers.PutAsync).WithName("PutBlob").WithSummary("Store bytes under their SHA-256")
            .Produces<BlobView>().Produces<BlobView>(StatusCodes.Status201Created)
            .ProducesProblem(StatusCodes.Status413PayloadTooLarge).ProducesProblem(StatusCodes.Status422UnprocessableEntity)
            .ProducesProblem(StatusCodes.Status507InsufficientStorage).RequireAuthorization(Policies.Operator);
        blobs.MapMethods("/", [HttpMethods.Head], BlobHandlers.HeadAsync).WithName("HeadBlob").WithSummary("Whether the blob is stored; renews its grace")
            .Produces(StatusCodes.Status200OK).ProducesProblem(StatusCodes.Status404NotFound);
        blobs.MapGet("/", BlobHandlers.GetAsync).WithName("GetBlob").WithSummary("Bytes, also ranges of them")
            .Produces<Stream>(contentType: "application/octet-stream").ProducesProblem(StatusCodes.Status404NotFound);

        var registry = api.MapGroup("/registry").WithTags("Registry");
        registry.MapPost("/gc", BlobHandlers.CollectAsync).WithName("CollectGarbage").WithSummary("Delete blobs nothing refers to").RequireAuthorization(Policies.Admin);
        registry.MapPut("/references/{kind}/{id:guid}", ReferenceHandlers.PutAsync).WithName("SetReferences").WithSummary("Keep blobs for a thing of another service").RequireAuthorization(Policies.Service);
        registry.MapDelete("/references/{kind}/{id:guid}", ReferenceHandlers.DeleteAsync).WithName("ReleaseReferences").WithSummary("No longer keep them").RequireAuthorization(Policies.Service);
    }

    private static void MapModels(RouteGroupBuilder api)
    {
        var models = api.MapGroup("/models").WithTags("Models");
        models.MapGet("/", ModelHandlers.ListAsync).WithName("ListModels").WithSummary("Search models");
        models.MapGet("/{name}", ModelHandlers.GetAsync).WithName("GetModel").WithSummary("One model with its aliases");
        models.MapDelete("/{name}", ModelHandlers.DeleteAsync).WithName("DeleteModel").WithSummary("Delete a model without aliases").RequireAuthorization(Policies.Operator);
        models.MapGet("/{name}/resolve", VersionHandlers.ResolveAsync).WithName("ResolveModel").WithSummary("The version that a number, an alias or 'latest' means now");

        var versions = models.MapGroup("/{name}/versions");
        versions.MapGet("/", VersionHandlers.ListAsync).WithName("ListVersions").WithSummary("Versions, newest first");
        versions.MapPost("/", VersionHandlers.PostAsync).WithName("RegisterVersion").WithSummary("Register a version by hand").RequireAuthorization(Policies.Operator);
        versions.MapGet("/{version:int}", VersionHandlers.GetAsync).WithName("GetVersion").WithSummary("One version");
        versions.MapDelete("/{version:int}", VersionHandlers.DeleteAsync).WithName("DeleteVersion").WithSummary("Delete a version without aliases").RequireAuthorization(Policies.Operator);
        versions.MapGet("/{version:int}/lineage", LineageHandlers.OfVersionAsync).WithName("GetLineage").WithSummary("From the version back to the source bytes");
        versions.MapPost("/{version:int}/approvals", ApprovalHandlers.PostAsync).WithName("Approve").WithSummary("Approve or reject; not the author").RequireAuthorization(Policies.Approver);

        models.MapGet("/versions/{id:guid}", VersionHandlers.GetByIdAsync).WithName("GetVersionById").WithSummary("One version by id, even when deleted");
        models.MapGet("/versions/{id:guid}/lineage", LineageHandlers.OfIdAsync).WithName("GetLineageById").WithSummary("Lineage by version id");

        var aliases = models.MapGroup("/{name}/aliases");
        aliases.MapGet("/", AliasHandlers.ListAsync).WithName("ListAliases").WithSummary("Aliases of a model");
        aliases.MapGet("/{alias}", AliasHandlers.GetAsync).WithName("GetAlias").WithSummary("One alias with its ETag");
        aliases.MapPut("/{alias}", AliasHandlers.PutAsync).WithName("SetAlias").WithSummary("Create (If-None-Match: *) or move (If-Match) an alias").RequireAuthorization(Policies.Operator);
        aliases.MapDelete("/{alias}", AliasHandlers.DeleteAsync).WithName("RemoveAlias").WithSummary("Remove an alias").RequireAuthorization(Policies.Operator);
        aliases.MapGet("/{alias}/history", AliasHandlers.HistoryAsync).WithName("GetAliasHistory").WithSummary("All moves, or with 'at' the state at that time");
    }
}
