using System.Globalization;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace DeepSeek.ServiceDefaults;

/// <summary>Entity tags of mutable resources: the row's version number.</summary>
public static class ETags
{
    public static string Of(long version) => string.Create(CultureInfo.InvariantCulture, $"\"{version}\"");

    /// <summary>Sets the response's ETag.</summary>
    public static void Set(HttpContext http, long version) => http.Response.Headers.ETag = Of(version);

    /// <summary>428 without <c>If-Match</c>, 412 unless it names the current version (or <c>*</c>).</summary>
    public static void Require(HttpContext http, long currentVersion)
    {
        if (http.Request.Headers.IfMatch.Count == 0)
        {
            throw new ApiProblem(StatusCodes.Status428PreconditionRequired, "Precondition required",
                $"Send If-Match with the ETag you last read (now {Of(currentVersion)}), so that nobody's change is overwritten unseen.");
        }

        Check(http, currentVersion);
    }

    /// <summary>412 when <c>If-Match</c> is there and does not name the current version.</summary>
    public static void Check(HttpContext http, long currentVersion)
    {
        if (http.Request.Headers.IfMatch.Count > 0 && !Names(http.Request.Headers.IfMatch, Of(currentVersion)))
        {
            throw Stale($"The resource is now at {Of(currentVersion)}; read it again and repeat the change.");
        }
    }

    /// <summary>For a resource that does not exist yet: 428 without <c>If-None-Match: *</c>, 412 with an <c>If-Match</c>.</summary>
    public static void RequireNew(HttpContext http)
    {
        if (http.Request.Headers.IfMatch.Count > 0)
        {
            throw Stale("The resource does not exist (any more); create it with If-None-Match: *.");
        }

        if (http.Request.Headers.IfNoneMatch != "*")
        {
            throw new ApiProblem(StatusCodes.Status428PreconditionRequired, "Precondition required", "Send If-None-Match: * to create it.");
        }
    }

    /// <summary>412 when the request says <c>If-None-Match: *</c> but the resource exists.</summary>
    public static void RefuseExisting(HttpContext http)
    {
        if (http.Request.Headers.IfNoneMatch == "*")
        {
            throw Stale("The resource exists already; change it with If-Match.");
        }
    }

    private static bool Names(StringValues header, string current) =>
        EntityTagHeaderValue.TryParseList(header.ToArray()!, out var tags)
        && tags.Any(tag => tag.Equals(EntityTagHeaderValue.Any) || tag.Compare(new EntityTagHeaderValue(current), useStrongComparison: true));

    private static ApiProblem Stale(string detail) => new(StatusCodes.Status412PreconditionFailed, "Precondition failed", detail);
}
