using System.Security.Cryptography;

namespace DeepSeek.Client;

/// <summary>Content-addressed bytes: <c>/api/v1/blobs</c>.</summary>
public sealed class BlobsClient
{
    private readonly ApiTransport _api;
    internal BlobsClient(ApiTransport api) => _api = api;

    /// <summary>Writes the blob to <paramref name="path"/>, which appears whole and checked, or not at all.</summary>
    /// <exception cref="InvalidDataException">The bytes received do not have the hash.</exception>
    public async Task DownloadAsync(string sha256, string path, CancellationToken cancellationToken = default)
    {
        var part = path + ".part";
        try
        {
            using (var response = await _api.SendAsync(() => new HttpRequestMessage(HttpMethod.Get, $"api/v1/blobs/{sha256}"), cancellationToken))
            await using (var source = await response.Content.ReadAsStreamAsync(cancellationToken))
            await using (var target = File.Create(part))
            {
                await source.CopyToAsync(target, cancellationToken);
                target.Position = 0;
                var found = Convert.ToHexStringLower(await SHA256.HashDataAsync(target, cancellationToken));
                if (found != sha256)
                {
                    throw new InvalidDataException($"The bytes received hash to {found}, not to {sha256}: they were damaged on the way. Download again.");
                }
            }

            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }
}
