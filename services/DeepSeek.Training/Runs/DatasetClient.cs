using System.Net;

namespace DeepSeek.Training.Runs;

/// <summary>What a run must know of its dataset before it is accepted.</summary>
/// <param name="State"><c>ready</c> when it can be learned from.</param>
public sealed record DatasetInfo(string State, string? ManifestSha256, string? Kind, string? Task, DatasetInfo.Outline? Summary)
{
    public sealed record Outline(IReadOnlyList<string>? Classes, IReadOnlyList<int>? FeatureShape);
}

public sealed class DatasetClient(HttpClient http)
{
    /// <summary>Null when there is no such dataset.</summary>
    public async Task<DatasetInfo?> FindAsync(Guid id, CancellationToken cancellationToken)
    {
        using var response = await http.GetAsync($"/api/v1/datasets/{id}", cancellationToken);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }
        response.EnsureSuccessStatusCode();
        return await response.Content.ReadFromJsonAsync<DatasetInfo>(cancellationToken);
    }
}
