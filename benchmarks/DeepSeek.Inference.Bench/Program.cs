using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Bench;
using DeepSeek.Inference.Tests;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

// Usage: DeepSeek.Inference.Bench [seconds per measurement]; needs the servers of the DEEPSEEK_TEST_* variables.
//        DeepSeek.Inference.Bench generate <language model>; needs nothing.
//        DeepSeek.Inference.Bench prompt <language model> <language model> [rounds]; times prompts of both by turns, needs nothing.
if (args is ["generate", var language])
{
    await Writing.RunAsync(language);
    return;
}

if (args is ["prompt", var one, var other, .. var rest])
{
    await Prompting.RunAsync([one, other], rest is [var rounds] ? int.Parse(rounds, CultureInfo.InvariantCulture) : 7);
    return;
}

var seconds = args is [var given] ? double.Parse(given, CultureInfo.InvariantCulture) : 5;
await using var database = new AsyncResource<TestDatabase>(new());
await using var vhost = new AsyncResource<TestVhost>(new());
using var data = new TestFolder();
await using var registry = await RegistryPeer.StartAsync();
await database.Value.InitializeAsync();
await vhost.Value.InitializeAsync();
registry.Add("bench", Models.Classifier(bias: -5));

// A process of its own, so that the clients do not share its runtime.
await using var service = new ServiceProcess("DeepSeek.Inference")
    .With("ConnectionStrings:inferencedb", database.Value.ConnectionString)
    .With("ConnectionStrings:messaging", vhost.Value.ConnectionString)
    .With(DataDirectories.Variable, data.Path)
    .With("services:registry:http:0", registry.Address.AbsoluteUri)
    .With("Logging:LogLevel:Default", "Error");
await service.StartAsync();
using var http = service.ClientOf(Roles.Operator);
(await http.PutAsJsonAsync("/api/v1/deployments/bench", new { model = "bench", @ref = "1", maxQueue = 10_000 })).EnsureSuccessStatusCode();

const string rows = """{"rows":[{"age":40,"member":true,"since":"2024-01-01T00:00:00Z","city":"Paris"}]}""";
const string tensors = """
    {"inputs":[{"name":"age","shape":[1,1],"datatype":"FP64","data":[40]},{"name":"member","shape":[1,1],"datatype":"FP64","data":[1]},
    {"name":"since","shape":[1,1],"datatype":"FP64","data":[1704067200]},{"name":"city","shape":[1,1],"datatype":"BYTES","data":["Paris"]}]}
    """;
Console.WriteLine($"{Environment.ProcessorCount} cores, load average {(await File.ReadAllTextAsync("/proc/loadavg")).Trim()}, {seconds} s each");
Console.WriteLine("| request | clients | requests/s | p50 ms | p95 ms | p99 ms | rows per execution | service's CPU µs per request |");
Console.WriteLine("| --- | --- | --- | --- | --- | --- | --- | --- |");
var kinds = new[]
{
    (Name: "one row, predict", Path: "/api/v1/deployments/bench/predict", Body: rows),
    (Name: "one row, /v2 infer", Path: "/v2/models/bench/infer", Body: tensors),
};
foreach (var (_, path, body) in kinds)
{
    // The runtime compiles hot code again, better, after some tens of thousands of calls.
    await Load.RunAsync(http, path, body, 16, TimeSpan.FromSeconds(2 * seconds));
}

foreach (var (name, path, body) in kinds)
{
    foreach (var clients in new[] { 1, 4, 16, 64 })
    {
        var before = await Load.StatisticsAsync(http, "bench");
        var cpu = service.ProcessorTime;
        var reading = await Load.RunAsync(http, path, body, clients, TimeSpan.FromSeconds(seconds));
        // On a machine that others use too, the processor's time tells more than the clock's.
        var cpuEach = (service.ProcessorTime - cpu).TotalMicroseconds / reading.Sorted.Length;
        var after = await Load.StatisticsAsync(http, "bench");
        var batch = (after.Inferences - before.Inferences) / (double)(after.Executions - before.Executions);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {name} | {clients} | {reading.PerSecond:F0} | {reading.Percentile(0.5):F2} | {reading.Percentile(0.95):F2} | {reading.Percentile(0.99):F2} | {batch:F1} | {cpuEach:F0} |"));
    }
}

namespace DeepSeek.Inference.Bench
{
    /// <summary>Ends a fixture also when the measurement throws.</summary>
    internal sealed class AsyncResource<T>(T value) : IAsyncDisposable
        where T : IAsyncDisposable
    {
        public T Value { get; } = value;

        public ValueTask DisposeAsync() => Value.DisposeAsync();
    }

    /// <summary>Clients that each send the next request when the last was answered.</summary>
    internal static class Load
    {
        public static async Task<Reading> RunAsync(HttpClient http, string path, string body, int clients, TimeSpan duration)
        {
            var bytes = Encoding.UTF8.GetBytes(body);
            var watch = Stopwatch.StartNew();
            var times = await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(async () =>
            {
                var own = new List<double>();
                while (watch.Elapsed < duration)
                {
                    using var content = new ByteArrayContent(bytes) { Headers = { ContentType = new("application/json") } };
                    var start = Stopwatch.GetTimestamp();
                    using var response = await http.PostAsync(path, content);
                    response.EnsureSuccessStatusCode();
                    own.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                }

                return own;
            })));
            return new Reading([.. times.SelectMany(t => t).Order()], watch.Elapsed.TotalSeconds);
        }

        public static async Task<(long Inferences, long Executions)> StatisticsAsync(HttpClient http, string model)
        {
            var stats = (await http.GetFromJsonAsync<JsonElement>($"/v2/models/{model}/stats")).GetProperty("model_stats")[0];
            return (stats.GetProperty("inference_count").GetInt64(), stats.GetProperty("execution_count").GetInt64());
        }
    }

    internal sealed record Reading(double[] Sorted, double Seconds)
    {
        public double PerSecond => Sorted.Length / Seconds;

        public double Percentile(double p) => Sorted[(int)Math.Min(Sorted.Length - 1, p * Sorted.Length)];
    }
}
