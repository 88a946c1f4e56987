using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using Xunit;

namespace DeepSeek.Testing;

/// <summary>A fresh RabbitMQ virtual host, deleted at the end.</summary>
public sealed class TestVhost : IAsyncLifetime
{
    private static readonly HttpClient s_management = Management();
    private readonly string _name = "test-" + Guid.NewGuid().ToString("N");

    public string ConnectionString => new UriBuilder(TestServers.RabbitMq) { Path = _name }.Uri.AbsoluteUri;

    public async ValueTask InitializeAsync()
    {
        (await s_management.PutAsync($"api/vhosts/{_name}", JsonContent.Create(new { }))).EnsureSuccessStatusCode();
        var user = Uri.UnescapeDataString(TestServers.RabbitMq.UserInfo.Split(':')[0]);
        (await s_management.PutAsync($"api/permissions/{_name}/{user}",
            JsonContent.Create(new { configure = ".*", write = ".*", read = ".*" }))).EnsureSuccessStatusCode();
    }

    public async ValueTask DisposeAsync() => await s_management.DeleteAsync($"api/vhosts/{_name}");

    /// <summary>Messages that wait in a queue, read without taking them; null when the queue does not exist.</summary>
    public async Task<int?> QueueLengthAsync(string queue)
    {
        // Counts of the management interface lag by seconds; a get with requeue sees the truth.
        using var response = await s_management.PostAsync($"api/queues/{_name}/{queue}/get",
            JsonContent.Create(new { count = 1000, ackmode = "ack_requeue_true", encoding = "auto" }));
        return response.IsSuccessStatusCode ? (await response.Content.ReadFromJsonAsync<object[]>())!.Length : null;
    }

    /// <summary>Breaks every connection to this virtual host, as a restart of the broker would.</summary>
    public async Task CloseConnectionsAsync()
    {
        foreach (var connection in (await s_management.GetFromJsonAsync<Connection[]>($"api/vhosts/{_name}/connections"))!)
        {
            await s_management.DeleteAsync($"api/connections/{Uri.EscapeDataString(connection.Name)}");
        }
    }

    private sealed record Connection(string Name);

    private static HttpClient Management()
    {
        var credentials = Convert.ToBase64String(Encoding.UTF8.GetBytes(Uri.UnescapeDataString(TestServers.RabbitMq.UserInfo)));
        return new HttpClient
        {
            BaseAddress = TestServers.RabbitMqManagement,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Basic", credentials) },
        };
    }
}
