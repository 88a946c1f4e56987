using System.Globalization;
using System.Text.Json;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Protocol;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Inference.OpenInference;

/// <summary>Triton's repository calls over our deployments: the registry is the repository, a deployment can be switched off and on.</summary>
internal static class RepositoryHandlers
{
    private const int MaxBody = 1 << 16;

    public static async Task<IResult> IndexAsync(
        HttpContext http, InferenceDb db, DeploymentTable table, CancellationToken cancellationToken)
    {
        var readyOnly = await ReadAsync(http, cancellationToken) is { ValueKind: JsonValueKind.Object } body
            && body.TryGetProperty("ready", out var ready) && ready.ValueKind == JsonValueKind.True;
        var known = await db.Deployments.AsNoTracking().Include(d => d.Version).OrderBy(d => d.Name).ToListAsync(cancellationToken);
        var entries = known.SelectMany(d => Entries(d, table)).Where(e => !readyOnly || e.State == "READY");
        return TypedResults.Json(entries.Select(e => new { name = e.Name, version = e.Version, state = e.State, reason = e.Reason }).ToArray());
    }

    public static async Task<IResult> LoadAsync(
        string model, HttpContext http, InferenceDb db, DeploymentTable table, ReconcileSignal signal, TimeProvider time,
        CancellationToken cancellationToken)
    {
        if (await ReadAsync(http, cancellationToken) is { ValueKind: JsonValueKind.Object } body
            && body.TryGetProperty("parameters", out var parameters) && parameters.ValueKind == JsonValueKind.Object
            && parameters.EnumerateObject().Any())
        {
            throw new InferenceException(
                StatusCodes.Status501NotImplemented,
                "load takes no parameters here: models and their files come from the registry; change limits with PUT /api/v1/deployments/{name}.");
        }

        await DeploymentHandlers.EnableAsync(model, enabled: true, http, db, signal, time, cancellationToken);
        (await table.AcquireAsync(model, null, cancellationToken)).Release();
        return TypedResults.Ok();
    }

    public static async Task<IResult> UnloadAsync(
        string model, HttpContext http, InferenceDb db, DeploymentTable table, ReconcileSignal signal, TimeProvider time,
        CancellationToken cancellationToken)
    {
        await DeploymentHandlers.EnableAsync(model, enabled: false, http, db, signal, time, cancellationToken);
        if (table.Find(model) is { } slot)
        {
            table.Remove(slot);
        }

        return TypedResults.Ok();
    }

    private static IEnumerable<IndexEntry> Entries(Deployment deployment, DeploymentTable table)
    {
        var slot = table.Find(deployment.Name);
        var versions = slot?.Versions() ?? [];
        return versions.Count == 0
            ? [new(deployment.Name, Text(deployment.Version?.Version), "UNAVAILABLE", slot?.Error ?? (deployment.Enabled ? "not loaded yet" : "unloaded"))]
            : versions.Select(v => new IndexEntry(deployment.Name, Text(v.Version), State(v.State), v.Error ?? ""));
    }

    private static string State(VersionState state) => state switch
    {
        VersionState.Ready => "READY",
        VersionState.Loading => "LOADING",
        _ => "UNAVAILABLE",
    };

    /// <summary>The body, if there is one: clients send none, an empty one, or an object.</summary>
    private static async Task<JsonElement?> ReadAsync(HttpContext http, CancellationToken cancellationToken)
    {
        using var body = await RequestBody.ReadAsync(http, MaxBody, cancellationToken);
        if (body.Memory.IsEmpty)
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(body.Memory, new JsonDocumentOptions { MaxDepth = JsonInferRequest.MaxDepth });
            return document.RootElement.Clone();
        }
        catch (JsonException fault)
        {
            throw InferenceException.BadRequest($"The body is not JSON: {fault.Message}");
        }
    }

    private static string? Text(int? version) => version?.ToString(CultureInfo.InvariantCulture);

    private sealed record IndexEntry(string Name, string? Version, string State, string Reason);
}
