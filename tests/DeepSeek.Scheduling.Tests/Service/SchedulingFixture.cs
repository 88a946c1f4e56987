using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Service;

/// <summary>The service with leases that a busy test machine keeps; retries follow at once.</summary>
public sealed class SchedulingFixture : ServiceFactory<SchedulingDb>
{
    public SchedulingFixture() : base("scheduling") => this.WithTimes(leaseSeconds: 60, acceptSeconds: 60);

    public TestBus Bus { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Start();
        Bus = await BusAsync();
        await Bus.ListenAsync<JobEnded>();
    }

    public override async ValueTask DisposeAsync()
    {
        await Bus.DisposeAsync();
        await base.DisposeAsync();
    }
}

internal static class SchedulingTestExtensions
{
    public static ServiceFactory<SchedulingDb> WithTimes(this ServiceFactory<SchedulingDb> factory, int leaseSeconds, int acceptSeconds)
    {
        foreach (var (key, value) in Times(leaseSeconds, acceptSeconds))
        {
            factory.With(key, value);
        }
        return factory;
    }

    public static IEnumerable<(string Key, string Value)> Times(int leaseSeconds, int acceptSeconds) =>
    [
        ("Scheduling:LeaseSeconds", $"{leaseSeconds}"),
        ("Scheduling:AcceptSeconds", $"{acceptSeconds}"),
        ("Scheduling:WorkerTimeoutSeconds", "300"),
        ("Scheduling:RetryBaseSeconds", "0.1"),
        ("Scheduling:TickMilliseconds", "100"),
    ];

    /// <summary>A kind that no other test of the class uses, so that tests cannot take each other's slots.</summary>
    public static string NewKind() => "kind" + Guid.NewGuid().ToString("N")[..8];

    public static async Task<Guid> SubmitAsync(this TestBus bus, string kind, int priority = 50, int maxAttempts = 3, string name = "job")
    {
        var id = Guid.NewGuid();
        var submit = new SubmitJob
        {
            JobId = id, Kind = kind, SubjectId = Guid.NewGuid(), Name = name, Owner = "ada", Priority = priority,
            MaxAttempts = maxAttempts, SubmittedAt = DateTimeOffset.UtcNow,
        };
        // Like an outbox: where the connection breaks the same message is sent again.
        var message = Guid.NewGuid();
        await Eventually.True(async () =>
        {
            try
            {
                await bus.PublishAsync(submit, message);
                return true;
            }
            catch (Exception fault) when (fault is not OperationCanceledException)
            {
                return false;
            }
        }, TimeSpan.FromSeconds(60));
        return id;
    }

    public static async Task<JobView> JobAsync(this HttpClient client, Guid id) =>
        (await client.GetFromJsonAsync<JobView>($"/api/v1/jobs/{id}", PlatformJson.Options))!;

    public static Task<JobView> JobAsync(this HttpClient client, Guid id, Func<JobView, bool> until, string what) =>
        Eventually.NotNull(async () =>
        {
            using var response = await client.GetAsync($"/api/v1/jobs/{id}");
            if (response.StatusCode == HttpStatusCode.NotFound)
            {
                return null;
            }
            var job = await response.Content.ReadFromJsonAsync<JobView>(PlatformJson.Options);
            return until(job!) ? job : null;
        }, null, what);

    public static Task<JobView> JobAsync(this HttpClient client, Guid id, JobState until) =>
        client.JobAsync(id, job => job.State == until, $"job {id} is {until}");
}
