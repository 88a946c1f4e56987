using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text;
using DeepSeek.Testing;

namespace DeepSeek.Inference.Tests.Deployments;

/// <summary>What a client notices of version changes and of too much load: as little as possible.</summary>
public sealed class SwapTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const int Versions = 20;
    private const int Clients = 4;
    private const int LeastRequests = 2000;

    [Fact]
    public async Task TwentySwapsUnderLoad_FailNoRequest_AndNoClientSeesAVersionGoBack()
    {
        var name = await service.DeployAsync(Models.Regressor(1));
        for (var version = 2; version <= Versions + 1; version++)
        {
            // prediction = version · x, so that a reply tells which model computed it.
            service.Registry.Add(name, Models.Regressor(version));
        }

        var faults = new ConcurrentQueue<string>();
        var requests = 0;
        using var done = new CancellationTokenSource();
        var clients = Enumerable.Range(0, Clients).Select(_ => Task.Run(async () =>
        {
            using var http = service.ClientOf(DeepSeek.ServiceDefaults.Roles.Reader);
            var last = 0;
            while (!done.IsCancellationRequested)
            {
                using var content = new StringContent("""{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}""", Encoding.UTF8, "application/json");
                using var response = await http.PostAsync($"/v2/models/{name}/infer", content);
                Interlocked.Increment(ref requests);
                if (response.StatusCode != HttpStatusCode.OK)
                {
                    faults.Enqueue($"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
                    continue;
                }

                var reply = await response.JsonAsync();
                var version = int.Parse(reply.GetProperty("model_version").GetString()!, CultureInfo.InvariantCulture);
                var computed = reply.GetProperty("outputs")[0].GetProperty("data")[0].GetSingle();
                if (version < last || computed != version)
                {
                    faults.Enqueue($"version {version} after {last}, computed by {computed}");
                }

                last = version;
            }
        })).ToList();

        for (var version = 2; version <= Versions + 1; version++)
        {
            var target = version;
            var atLeast = LeastRequests * (version - 1) / Versions;
            await service.MoveAliasAsync(name, "production", version);
            await Eventually.True(async () => await ServedAsync(name) == target && Volatile.Read(ref requests) >= atLeast, TimeSpan.FromMinutes(1));
        }

        await done.CancelAsync();
        await Task.WhenAll(clients);
        Assert.Empty(faults);
        Assert.True(requests >= LeastRequests, $"{requests} requests");
    }

    [Fact]
    public async Task Overload_Is429WithRetryAfter_AndWhoWaitsIsServed()
    {
        // Each execution takes far longer than to send a request; one row each, sixteen may wait.
        var name = await service.DeployAsync(Models.Heavy(products: 200), new { maxBatch = 1, maxQueue = 16 });
        var body = $$"""{"inputs": [{"name": "x", "shape": [1, 512], "datatype": "FP32", "data": [{{string.Join(',', Enumerable.Repeat("1", 512))}}]}], "outputs": [{"name": "y", "parameters": {"binary_data": true} }]}""";

        var tries = await Task.WhenAll(Enumerable.Range(0, 60).Select(async _ =>
        {
            for (var tried = 1; ; tried++)
            {
                using var response = await service.InferAsync(name, body);
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    return tried;
                }

                Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
                var wait = response.Headers.RetryAfter?.Delta ?? throw new AssertionFailedException("429 without Retry-After");
                Assert.InRange(wait.TotalSeconds, 1, 60);
                await Task.Delay(wait);
            }
        }));

        // Sixteen wait and one runs, so most of sixty are refused. That a promise is kept depends on a machine that stays as fast as it was when it
        // was made: mostly the second try succeeds (ServiceRateTests says why), but a third one is no fault.
        Assert.InRange(tries.Count(tried => tried > 1), 1, 60);
        Assert.InRange(tries.Max(), 2, 5);
    }

    [Fact]
    public async Task Client_ThatGoesAway_LeavesTheQueue()
    {
        var name = await service.DeployAsync(Models.Heavy(products: 1000), new { maxBatch = 1, maxQueue = 50 });
        var body = $$"""{"inputs": [{"name": "x", "shape": [1, 512], "datatype": "FP32", "data": [{{string.Join(',', Enumerable.Repeat("1", 512))}}]}]}""";
        using var cancel = new CancellationTokenSource();
        var requests = Enumerable.Range(0, 40).Select(_ => service.Http.PostAsync(
            $"/v2/models/{name}/infer", new StringContent(body, Encoding.UTF8, "application/json"), cancel.Token)).ToList();
        await Task.WhenAny(requests);

        await cancel.CancelAsync();
        await Task.WhenAll(requests.Select(async r => { try { (await r).Dispose(); } catch (OperationCanceledException) { } }));

        // What was cancelled while it waited is not computed: the next request does not stand behind it.
        (await service.InferAsync(name, body)).EnsureSuccessStatusCode().Dispose();
        var stats = (await (await service.Http.GetAsync($"/v2/models/{name}/stats")).JsonAsync()).GetProperty("model_stats")[0];
        Assert.True(stats.GetProperty("execution_count").GetInt64() < 41, stats.GetProperty("execution_count").ToString());
    }

    private async Task<int> ServedAsync(string name)
    {
        var model = await (await service.Http.GetAsync($"/v2/models/{name}")).JsonAsync();
        return int.Parse(model.GetProperty("versions")[0].GetString()!, CultureInfo.InvariantCulture);
    }
}
