using System.Security.Cryptography;
using System.Text;

namespace Aspire.Hosting;

/// <summary>Name of a resource's volume: application, ten digits of the hash of its name, resource, purpose.</summary>
internal static class VolumeName
{
    public static string Of<T>(IResourceBuilder<T> builder, string purpose) where T : IResource
    {
        var application = builder.ApplicationBuilder.Environment.ApplicationName;
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(application)))[..10];
        return $"{Sanitize(application).ToLowerInvariant()}-{hash}-{builder.Resource.Name}-{purpose}";
    }

    private static string Sanitize(string name) => new([.. name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-' ? c : '_')]);
}
