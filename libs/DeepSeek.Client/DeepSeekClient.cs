namespace DeepSeek.Client;

/// <summary>
/// The platform, through its gateway. Thread-safe; one instance serves a whole program. Every call throws
/// <see cref="DeepSeekApiException"/> when the platform refuses it, and <see cref="HttpRequestException"/> when it cannot be reached.
/// </summary>
public sealed class DeepSeekClient : IDisposable
{
    private readonly HttpClient _http;

    /// <summary>A client of the gateway at <paramref name="gateway"/> that authenticates with <paramref name="apiKey"/> (<c>dsk_…</c>).</summary>
    /// <param name="gateway">Address of the gateway, for example <c>http://localhost:5080</c>.</param>
    /// <param name="apiKey">An API key.</param>
    /// <param name="handler">Transport, for tests; by default a pooled socket handler.</param>
    public DeepSeekClient(Uri gateway, string apiKey, HttpMessageHandler? handler = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(apiKey);
        _http = new HttpClient(handler ?? new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5), ConnectTimeout = TimeSpan.FromSeconds(5) })
        {
            BaseAddress = new Uri(gateway.AbsoluteUri.TrimEnd('/') + "/"),
            Timeout = Timeout.InfiniteTimeSpan, // uploads and event streams last as long as they last
        };
        _http.DefaultRequestHeaders.Authorization = new("Bearer", apiKey);
        var api = new ApiTransport(_http);
        Datasets = new DatasetsClient(api);
        Runs = new RunsClient(api);
        Models = new ModelsClient(api);
        Compressions = new CompressionsClient(api);
        Deployments = new DeploymentsClient(api);
        Predictions = new PredictionsClient(api);
        Inference = new InferenceClient(api);
        Explanations = new ExplanationsClient(api);
        Jobs = new JobsClient(api);
        Keys = new KeysClient(api);
        Audit = new AuditClient(api);
        Blobs = new BlobsClient(api);
    }

    public DatasetsClient Datasets { get; }
    public RunsClient Runs { get; }
    public ModelsClient Models { get; }
    public CompressionsClient Compressions { get; }
    public DeploymentsClient Deployments { get; }
    public PredictionsClient Predictions { get; }

    /// <summary>The Open Inference Protocol, version 2.</summary>
    public InferenceClient Inference { get; }

    public ExplanationsClient Explanations { get; }
    public JobsClient Jobs { get; }
    public KeysClient Keys { get; }
    public AuditClient Audit { get; }
    public BlobsClient Blobs { get; }

    public void Dispose() => _http.Dispose();
}
