using System.Globalization;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Options;

namespace DeepSeek.Gateway.Limits;

/// <summary>Bounds request bodies: uploads of datasets and blobs may be large, everything else is a document.</summary>
internal sealed class BodyLimits(RequestDelegate next, IOptions<GatewayOptions> options)
{
    public Task InvokeAsync(HttpContext http)
    {
        var limit = IsUpload(http.Request) ? options.Value.UploadLimit : options.Value.BodyLimit;
        if (http.Request.ContentLength > limit)
        {
            return http.WriteProblemAsync(Problems.TooLarge(string.Create(CultureInfo.InvariantCulture,
                $"The request body has {http.Request.ContentLength} bytes; this address accepts {limit}.")));
        }

        // Counts the bytes of a body that does not tell its length.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = limit;
        }

        return next(http);
    }

    public static bool IsUpload(HttpRequest request) =>
        (HttpMethods.IsPost(request.Method) && request.Path == "/api/v1/datasets")
        || (HttpMethods.IsPut(request.Method) && request.Path.StartsWithSegments("/api/v1/blobs"));
}
