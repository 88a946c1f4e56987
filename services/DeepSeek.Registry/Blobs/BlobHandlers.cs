using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace DeepSeek.Registry.Blobs;

/// <summary>A blob as the API shows it.</summary>
public sealed record BlobView(string Sha256, long Bytes, string MediaType);

internal static class BlobHandlers
{
    public static async Task<IResult> PutAsync(string sha256, HttpContext http, BlobStore store, IOptions<RegistryOptions> options, CancellationToken cancellationToken)
    {
        RequireSha256(sha256);
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
            limit.MaxRequestBodySize = null; // the store has its own, in bytes of the blob
        var created = await store.PutAsync(sha256, http.Request.Body, http.Request.ContentLength, MediaTypeOf(http.Request), http.User.Actor(), cancellationToken);
        var blob = await store.FindAsync(sha256, cancellationToken) ?? throw Problems.NotFound("blob", sha256);
        SetETag(http, sha256);
        var view = new BlobView(blob.Sha256, blob.Bytes, blob.MediaType);
        return created ? TypedResults.Created($"/api/v1/blobs/{sha256}", view) : TypedResults.Ok(view);
    }

    /// <summary>A HEAD asks "do you have it, and keep it a while": it renews the grace, so that a sender may skip the upload.</summary>
    public static async Task<IResult> HeadAsync(string sha256, HttpContext http, BlobStore store, CancellationToken cancellationToken)
    {
        RequireSha256(sha256);
        var blob = await store.TouchAsync(sha256, cancellationToken) ?? throw Problems.NotFound("blob", sha256);
        SetETag(http, sha256);
        http.Response.Headers.AcceptRanges = "bytes";
        http.Response.ContentType = blob.MediaType;
        http.Response.ContentLength = blob.Bytes;
        return Results.Empty;
    }

    public static async Task<IResult> GetAsync(string sha256, HttpContext http, BlobStore store, BlobFiles files, CancellationToken cancellationToken)
    {
        RequireSha256(sha256);
        var blob = await store.FindAsync(sha256, cancellationToken);
        if (blob is null || !files.Exists(sha256))
            throw Problems.NotFound("blob", sha256);
        // A blob may be HTML that somebody uploaded: it is data here, never a page of this site.
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.ContentDisposition = "attachment";
        http.Response.Headers.ContentSecurityPolicy = "sandbox; default-src 'none'";
        http.Response.Headers.CacheControl = "private, max-age=31536000, immutable";
        return TypedResults.File(files.Open(sha256), blob.MediaType, lastModified: null, entityTag: TagOf(sha256), enableRangeProcessing: true);
    }

    public static async Task<Ok<GarbageReport>> CollectAsync(
        int? graceSeconds, HttpContext http, BlobCollector collector, IOptions<RegistryOptions> options, CancellationToken cancellationToken)
    {
        if (graceSeconds < 0)
            throw Problems.Invalid("graceSeconds", "must be 0 or more; leave it out for the configured grace.");
        var grace = graceSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : options.Value.Grace;
        return TypedResults.Ok(await collector.CollectAsync(grace, http.User.Actor(), cancellationToken));
    }

    public static void RequireSha256(string text)
    {
        if (!BlobRef.IsSha256(text))
            throw Problems.Invalid("sha256", "must be 64 lower-case hexadecimal digits.");
    }

    private static string MediaTypeOf(HttpRequest request) =>
        request.ContentType is not { Length: > 0 } text ? BlobRef.DefaultMediaType
        : MediaTypeHeaderValue.TryParse(text, out var type) && text.Length <= 200 ? type.ToString()
        : throw Problems.Invalid("Content-Type", "is not a media type; send application/octet-stream when in doubt.");

    private static EntityTagHeaderValue TagOf(string sha256) => new($"\"{sha256}\"");

    private static void SetETag(HttpContext http, string sha256) => http.Response.Headers.ETag = TagOf(sha256).ToString();
}
