using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using DeepSeek.Onnx;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Npgsql;

namespace DeepSeek.Registry.Tests;

/// <summary>A registry with a database, a broker and a disk folder of its own, and short ways to use it.</summary>
public class RegistryFixture : ServiceFactory<Program>
{
    public RegistryFixture()
        : base("registry") =>
        With("Registry:ReserveBytes", "0").With("Registry:CollectEvery", "1.00:00:00");

    public HttpClient Ann => ClientOf(Roles.Operator, "ann");

    public HttpClient Approver => ClientOf(Roles.Approver, "max");

    public HttpClient Admin => ClientOf(Roles.Admin, "root");

    public string BlobFolder => Directory.CreateDirectory(Path.Combine(DataFolder, "registry", "blobs")).FullName;

    /// <summary>Files of stored blobs and of uploads under way.</summary>
    public string[] BlobFilesOnDisk => [.. Directory.EnumerateFiles(BlobFolder, "*", SearchOption.AllDirectories).Where(f => !Path.GetFileName(f).StartsWith("audit.head", StringComparison.Ordinal))];

    public long BytesOnDisk => BlobFilesOnDisk.Sum(f => new FileInfo(f).Length);

    /// <summary>A valid ONNX model that doubles its input; every <paramref name="salt"/> makes other bytes.</summary>
    public static byte[] Onnx(string salt)
    {
        var graph = new OnnxGraph("double").Metadata("salt", salt);
        var x = graph.Input("x", OnnxType.Float, "N", 1);
        graph.NodeTo("y", "Add", [x, x]);
        graph.Output("y", OnnxType.Float, "N", 1);
        return OnnxModels.ToBytes(graph.ToModel());
    }

    public async Task<string> UploadAsync(byte[] bytes, string mediaType = "application/octet-stream")
    {
        var sha256 = BlobHash.Of(bytes);
        using var response = await PutAsync(sha256, bytes, mediaType);
        response.EnsureSuccessStatusCode();
        return sha256;
    }

    public Task<string> UploadAsync(string text) => UploadAsync(Encoding.UTF8.GetBytes(text));

    public async Task<HttpResponseMessage> PutAsync(string sha256, byte[] bytes, string mediaType = "application/octet-stream")
    {
        using var content = new ByteArrayContent(bytes) { Headers = { ContentType = MediaTypeHeaderValue.Parse(mediaType) } };
        return await Ann.PutAsync($"/api/v1/blobs/{sha256}", content);
    }

    /// <summary>Registers a version of new bytes by hand, as ann.</summary>
    public async Task<VersionView> RegisterAsync(string model, byte[]? onnx = null, object? metrics = null)
    {
        var sha256 = await UploadAsync(onnx ?? Onnx(Guid.NewGuid().ToString()));
        using var response = await Ann.PostAsJsonAsync($"/api/v1/models/{model}/versions",
            new { artifacts = new[] { new { name = "model.onnx", sha256 } }, metrics = metrics ?? new { } });
        return await ReadAsync<VersionView>(response);
    }

    public async Task<HttpResponseMessage> ApproveAsync(string model, int version, string decision = "approve", HttpClient? by = null) =>
        await (by ?? Approver).PostAsJsonAsync($"/api/v1/models/{model}/versions/{version}/approvals", new { decision, comment = "looked at it" });

    public Task<HttpResponseMessage> SetAliasAsync(string model, string alias, int version, string? ifMatch = null, HttpClient? by = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Put, $"/api/v1/models/{model}/aliases/{alias}") { Content = JsonContent.Create(new { version }) };
        if (ifMatch is null)
            request.Headers.Add("If-None-Match", "*");
        else
            request.Headers.Add("If-Match", ifMatch);
        return (by ?? Ann).SendAsync(request);
    }

    public static async Task<T> ReadAsync<T>(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode} {text}");
        return System.Text.Json.JsonSerializer.Deserialize<T>(text, PlatformJson.Options)!;
    }

    public async Task<T> GetAsync<T>(string path) => await ReadAsync<T>(await Ann.GetAsync(path));

    /// <summary>Runs SQL as the superuser behind the service's back.</summary>
    public async Task TamperAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"set session_replication_role = replica; {sql}", connection);
        await command.ExecuteNonQueryAsync();
    }
}
