using System.Text.Json;

namespace Aspire.Hosting;

/// <summary>
/// Where the running application's external endpoints are, for programs of the same user, who cannot know ports that were free by chance:
/// <c>host/endpoints.json</c> of the data folder, readable by its owner only. The host's process id tells a file that a killed host left behind.
/// </summary>
internal sealed class EndpointFile(LocalData data, DistributedApplicationModel model)
{
    private string FilePath => Path.Combine(data.PrivateFolder("host"), "endpoints.json");

    /// <summary>Writes the addresses that the endpoints have been given; the first external one of each resource.</summary>
    public void Write()
    {
        var endpoints = model.Resources.OfType<IResourceWithEndpoints>().SelectMany(resource => resource.GetEndpoints())
            .Where(endpoint => endpoint.EndpointAnnotation.IsExternal).DistinctBy(endpoint => endpoint.Resource.Name)
            .ToDictionary(endpoint => endpoint.Resource.Name, endpoint => endpoint.Url);
        OwnFile.Replace(FilePath, JsonSerializer.SerializeToUtf8Bytes(new { Pid = Environment.ProcessId, Endpoints = endpoints }, JsonSerializerOptions.Web));
    }

    public void Delete() => File.Delete(FilePath);
}
