using System.Text.Json;
using DeepSeek.Contracts.Devices;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Training.Runs;

/// <summary>The devices of the platform that may train, as Scheduling knows them.</summary>
public sealed class WorkersClient(HttpClient http)
{
    /// <summary>One entry a device; none when Scheduling cannot be asked: advice is no reason to fail a run.</summary>
    public async Task<IReadOnlyList<KnownDevice>> DevicesAsync(CancellationToken cancellationToken)
    {
        try
        {
            var workers = await http.GetFromJsonAsync<IReadOnlyList<WorkerInfo>>($"/api/v1/jobs/workers?kind={JobKinds.Train}", PlatformJson.Options, cancellationToken);
            return [.. workers!.SelectMany(worker => worker.Devices, (worker, device) => new KnownDevice(worker.Host, device)).DistinctBy(known => (known.Host, known.Device.Device))];
        }
        catch (Exception fault) when (fault is HttpRequestException or TimeoutException or JsonException || (fault is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return [];
        }
    }

    private sealed record WorkerInfo(string Host, IReadOnlyList<RatedDevice> Devices);
}
