using System.Text.Encodings.Web;
using System.Text.Json;
using DeepSeek.Client;

namespace DeepSeek.Cli.Output;

/// <summary>One JSON document on standard output.</summary>
internal sealed class JsonPrinter(TextWriter output) : IPrinter
{
    internal static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public async Task ListAsync<T>(IAsyncEnumerable<T> items, params (string Header, Func<T, object?> Value)[] columns)
    {
        var list = new List<T>();
        await foreach (var item in items)
        {
            list.Add(item);
        }

        output.WriteLine(JsonSerializer.Serialize(list, Options));
    }

    public void Item<T>(T item, params (string Name, object? Value)[] facts) => output.WriteLine(JsonSerializer.Serialize(item, Options));

    public void Done(string text) => Item(new { message = text });

    public void Say(string text)
    {
    }

    public void Part(string text)
    {
    }

    public Task<Job> FollowAsync(JobsClient jobs, Guid id, CancellationToken cancellationToken) => jobs.WaitAsync(id, cancellationToken: cancellationToken);

    public Task<T> UploadAsync<T>(string name, long bytes, Func<IProgress<long>, Task<T>> upload) => upload(new Progress<long>());
}
