using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.Features;

namespace DeepSeek.Gateway.Routing;

/// <summary>What no request may bring in: somebody's identity, paths that climb, protocol upgrades.</summary>
internal sealed class Border(RequestDelegate next)
{
    public Task InvokeAsync(HttpContext http)
    {
        http.Request.Headers.Remove(IdentityTokens.Header);
        if (http.WebSockets.IsWebSocketRequest || http.Features.Get<IHttpUpgradeFeature>()?.IsUpgradableRequest == true)
        {
            return http.WriteProblemAsync(new ApiProblem(StatusCodes.Status400BadRequest, "No upgrade",
                "WebSockets and other upgrades are not offered; progress comes as server-sent events, for example from /api/v1/jobs/{id}/events."));
        }

        var target = http.Features.Get<IHttpRequestFeature>()!.RawTarget;
        return Climbs(target.AsSpan(0, target.IndexOf('?') is var query and >= 0 ? query : target.Length))
            ? http.WriteProblemAsync(new ApiProblem(StatusCodes.Status400BadRequest, "The path is not valid",
                "A path may not hold '..' segments, backslashes, or encoded slashes, backslashes, percent signs and control characters."))
            : next(http);
    }

    /// <summary>Services must never see a path that another decoder reads differently.</summary>
    private static bool Climbs(ReadOnlySpan<char> path)
    {
        for (var i = 0; i < path.Length; i++)
        {
            if (path[i] == '\\' || (path[i] == '%' && (i + 2 >= path.Length || IsForbidden(path.Slice(i + 1, 2)))))
            {
                return true;
            }
        }

        foreach (var range in path.Split('/'))
        {
            var segment = path[range];
            if (segment.Contains('.') || segment.Contains('%'))
            {
                var text = Uri.UnescapeDataString(segment.ToString());
                if (text is "." or "..")
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static bool IsForbidden(ReadOnlySpan<char> hex) =>
        !byte.TryParse(hex, System.Globalization.NumberStyles.AllowHexSpecifier, null, out var value)
        || value < 0x20 || value == 0x7F || value is (byte)'/' or (byte)'\\' or (byte)'%';
}
