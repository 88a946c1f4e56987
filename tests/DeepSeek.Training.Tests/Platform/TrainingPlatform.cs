using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Contracts.Training;
using DeepSeek.Registry;
using DeepSeek.Scheduling;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;

namespace DeepSeek.Training.Tests.Platform;

/// <summary>Training with the scheduling and registry services that it works with, and one dataset ready.</summary>
public class TrainingPlatform : IAsyncLifetime
{
    /// <summary>Enough steps that a test can interfere: some seconds.</summary>
    private const int LongEpochs = 120;

    private readonly SmallDataset _dataset = new();
    private Task<string>? _undisturbed;
    private DatasetServer _datasets = null!;

    public ServiceFactory<SchedulingDb> Scheduling { get; } = new("scheduling");
    public ServiceFactory<RegistryDb> Registry { get; } = new("registry");
    public ServiceFactory<TrainingDb> Training { get; } = new("training");
    public TestBus Bus { get; private set; } = null!;
    public HttpClient Runs { get; private set; } = null!;
    public HttpClient Jobs { get; private set; } = null!;
    public Guid DatasetId => _dataset.Id;
    public string ManifestSha256 => _dataset.ManifestSha256;
    internal DatasetServer Datasets => _datasets;

    /// <summary>Whether the service runs in the test's own process.</summary>
    protected virtual bool InProcess => true;

    public async ValueTask InitializeAsync()
    {
        await Scheduling.InitializeAsync();
        await Registry.InitializeAsync();
        await Training.InitializeAsync();
        var messaging = Scheduling.Vhost.ConnectionString;
        Scheduling.With("Scheduling:LeaseSeconds", "60").With("Scheduling:AcceptSeconds", "15").With("Scheduling:RetryBaseSeconds", "0.1").Start();
        Registry.With("ConnectionStrings:messaging", messaging).Start();
        _datasets = await DatasetServer.StartAsync();
        _datasets.Add(_dataset);
        using var blobs = Registry.ClientOf(Roles.Service);
        foreach (var (sha256, bytes) in _dataset.Blobs)
        {
            (await blobs.PutAsync($"/api/v1/blobs/{sha256}", new ByteArrayContent(bytes))).EnsureSuccessStatusCode();
        }
        Configure(Training);
        Training.WithPeer("scheduling", Scheduling.Address).WithPeer("registry", Registry.Address).WithPeer("preprocessing", _datasets.Address)
            .With("ConnectionStrings:messaging", messaging)
            // Two threads of a small net wait for each other longer than they compute when the machine is busy.
            .With("Trainer:Threads", "1").With("Worker:SeenSeconds", "1").With("Worker:BeatSeconds", "0.5");
        Bus = await TestBus.StartAsync(messaging);
        await Bus.ListenAsync<ModelTrained>();
        if (InProcess)
        {
            Training.Start();
            Runs = Training.ClientOf(Roles.Operator, "ada");
        }
        Jobs = Scheduling.ClientOf(Roles.Operator, "ada");
    }

    public async ValueTask DisposeAsync()
    {
        await Training.DisposeAsync();
        await Bus.DisposeAsync();
        await Registry.DisposeAsync();
        await _datasets.DisposeAsync();
        await Scheduling.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected virtual void Configure(ServiceFactory<TrainingDb> training)
    {
    }

    /// <summary>A run of a second or two; <paramref name="epochs"/> of 12 steps each make it longer.</summary>
    public object Spec(int epochs = 20, int priority = 50, string modelName = "line", Guid? dataset = null, object? model = null, object? optimizer = null, object? trace = null) => new
    {
        specVersion = 1,
        name = "line run",
        modelName,
        datasetId = dataset ?? DatasetId,
        model = model ?? new { family = "tabularMlp", width = 16, blocks = 1 },
        optimizer = optimizer ?? new { name = "adamW", learningRate = 0.01 },
        epochs,
        batchSize = 32,
        checkpointEvery = 50,
        seed = 7,
        priority,
        trace,
    };

    /// <summary>A run that lasts long enough for a test to interfere.</summary>
    public object LongSpec(int priority = 50) => Spec(LongEpochs, priority, "long");

    /// <summary>Hash of the weights that <see cref="LongSpec"/> ends with when nothing interferes.</summary>
    public Task<string> UndisturbedAsync(HttpClient? runs = null)
    {
        return _undisturbed ??= TrainAsync();

        async Task<string> TrainAsync()
        {
            var accepted = await StartAsync(LongSpec(), runs);
            return ShaOf(await RunAsync(accepted.Id, SubjectState.Succeeded, runs), "weights.safetensors");
        }
    }

    public async Task<RunAccepted> StartAsync(object spec, HttpClient? runs = null)
    {
        using var response = await (runs ?? Runs).PostAsJsonAsync("/api/v1/runs", spec);
        Assert.Equal(System.Net.HttpStatusCode.Accepted, response.StatusCode);
        var accepted = (await response.Content.ReadFromJsonAsync<RunAccepted>(PlatformJson.Options))!;
        Assert.Equal($"/api/v1/runs/{accepted.Id}", response.Headers.Location!.OriginalString);
        return accepted;
    }

    public async Task<RunView> RunAsync(Guid id, HttpClient? runs = null) =>
        (await (runs ?? Runs).GetFromJsonAsync<RunView>($"/api/v1/runs/{id}", PlatformJson.Options))!;

    /// <summary>Waits for a state of the run; another final state fails at once.</summary>
    public Task<RunView> RunAsync(Guid id, SubjectState until, HttpClient? runs = null) => Eventually.NotNull(async () =>
    {
        var run = await RunAsync(id, runs);
        Assert.False(run.State != until && run.State is SubjectState.Succeeded or SubjectState.Failed, $"The run has {run.State}: {run.Error}");
        return run.State == until ? run : null;
    }, TimeSpan.FromSeconds(180), $"run {id} is {until}");

    public Task<JobView> JobAsync(Guid id, Func<JobView, Task<bool>> until, string what) => Eventually.NotNull(async () =>
    {
        using var response = await Jobs.GetAsync($"/api/v1/jobs/{id}");
        return response.IsSuccessStatusCode && await response.Content.ReadFromJsonAsync<JobView>(PlatformJson.Options) is { } job && await until(job) ? job : null;
    }, TimeSpan.FromSeconds(120), what);

    public Task<JobView> JobAsync(Guid id, JobState until) => JobAsync(id, job => Task.FromResult(job.State == until), $"job {id} is {until}");

    public string FolderOf(Guid run) => Path.Combine(Training.DataFolder, "training", "runs", run.ToString());

    public Task CheckpointAsync(Guid run) => Eventually.True(
        () => Directory.Exists(Path.Combine(FolderOf(run), "checkpoints")) && Directory.EnumerateFiles(Path.Combine(FolderOf(run), "checkpoints"), "*.ckpt").Any(),
        TimeSpan.FromSeconds(120), "a checkpoint is there");

    public async Task<IReadOnlyList<MetricView>> MetricsAsync(Guid run, string? name = null)
    {
        var points = new List<MetricView>();
        string? cursor = null;
        do
        {
            var page = (await Runs.GetFromJsonAsync<Page<MetricView>>(
                $"/api/v1/runs/{run}/metrics?limit=200{(name is null ? "" : $"&name={name}")}{(cursor is null ? "" : $"&cursor={cursor}")}", PlatformJson.Options))!;
            points.AddRange(page.Items);
            cursor = page.Next;
        }
        while (cursor is not null);
        return points;
    }

    public static string ShaOf(RunView run, string artifact) => run.Artifacts!.Single(a => a.Name == artifact).Sha256;
}
