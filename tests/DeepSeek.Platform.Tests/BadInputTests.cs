using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using DeepSeek.Client;

namespace DeepSeek.Platform.Tests;

/// <summary>Bad input through the gateway: a 4xx that names the fault, services that stay up, memory that stays flat.</summary>
[Collection(PlatformCollection.Name)]
public sealed class BadInputTests(PlatformHost platform)
{
    private const string Unknown = "01900000-0000-7000-8000-000000000000";

    [Theory]
    [InlineData("GET", $"/api/v1/datasets/{Unknown}", null, 404)]
    [InlineData("GET", $"/api/v1/runs/{Unknown}", null, 404)]
    [InlineData("GET", $"/api/v1/jobs/{Unknown}", null, 404)]
    [InlineData("GET", $"/api/v1/compressions/{Unknown}", null, 404)]
    [InlineData("GET", $"/api/v1/explanations/{Unknown}", null, 404)]
    [InlineData("GET", "/api/v1/models/no-such-model", null, 404)]
    [InlineData("GET", "/api/v1/deployments/no-such-deployment", null, 404)]
    [InlineData("GET", "/api/v1/predictions/p_nothing", null, 404)]
    [InlineData("GET", "/v2/models/no-such-model", null, 404)]
    [InlineData("POST", "/v2/models/no-such-model/infer", """{"inputs":[]}""", 404)]
    [InlineData("GET", "/api/v1/blobs/..%2f..%2f..%2fetc%2fpasswd", null, 400)]
    [InlineData("GET", "/api/v1/blobs/nohash", null, 400)]
    [InlineData("GET", "/api/v1/jobs?limit=-1", null, 400)]
    [InlineData("GET", "/api/v1/jobs?limit=99999999999999999999", null, 400)]
    [InlineData("GET", "/api/v1/models?cursor=%00%ff", null, 400)]
    [InlineData("POST", "/api/v1/runs", """{"specVersion":1}""", 400)]
    [InlineData("POST", "/api/v1/runs", """{"specVersion":1,"name":"x","modelName":"x","datasetId":"01900000-0000-7000-8000-000000000000","model":{"family":"tabularMlp"},"epochs":-5}""", 400)]
    [InlineData("POST", "/api/v1/runs", """{"specVersion":99999999999999999999}""", 400)]
    [InlineData("POST", "/api/v1/compressions", """{"modelName":"no-such-model","version":"1"}""", 4)]
    [InlineData("POST", "/api/v1/explanations", """{"deployment":"no-such"}""", 4)]
    [InlineData("PUT", "/api/v1/deployments/bad", """{"model":"no-such-model","ref":"1"}""", 4)]
    [InlineData("PUT", "/api/v1/deployments/..", """{"model":"m","ref":"1"}""", 4)]
    [InlineData("POST", "/api/v1/runs", "{", 400)]
    [InlineData("POST", "/api/v1/keys", """{"name":"x","role":"emperor"}""", 400)]
    public async Task Request_ThatCannotBe_GetsAProblemThatSaysWhy(string method, string path, string? body, int status)
    {
        using var response = await SendAsync(method, path, body);

        Assert.True(status < 10 ? (int)response.StatusCode / 100 == status : (int)response.StatusCode == status, $"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
        var problem = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        Assert.True((problem.TryGetProperty("detail", out var detail) || problem.TryGetProperty("error", out detail)) && detail.GetString()!.Length > 5, problem.GetRawText());
    }

    [Theory]
    [InlineData("/api/v1/runs")]
    [InlineData("/api/v1/explanations")]
    [InlineData("/api/v1/compressions")]
    [InlineData("/v2/models/any/infer")]
    public async Task Json_OfDepthThousand_IsRefused(string path)
    {
        using var response = await SendAsync("POST", path, new string('[', 1000) + new string(']', 1000));

        Assert.InRange((int)response.StatusCode, 400, 499);
    }

    [Theory]
    [InlineData("a,b\n1,2\n3,4,5\n", "b", "3")] // ragged: line 3
    [InlineData("a,a\n1,2\n", "a", "a")] // doubled header
    [InlineData("a,b\n1,2\n", "c", "c")] // target missing
    [InlineData("a,b\n1,\"2\n3,4\n", "b", "row 1")] // quote never closed
    [InlineData("a,b\n1,x\0y\n2,z\n", "b", "2")] // NUL
    [InlineData("", "b", "empty")]
    public async Task Csv_Broken_IsRefusedNamingThePlace(string csv, string target, string named)
    {
        using var client = await platform.ClientAsync("operator");

        var fault = await UploadFaultAsync(client, Encoding.UTF8.GetBytes(csv), target);

        Assert.Contains(named, fault, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Csv_OfBadUtf8_IsRefused()
    {
        using var client = await platform.ClientAsync("operator");

        Assert.Contains("UTF-8", await UploadFaultAsync(client, [.. "a,b\n1,"u8, 0xff, 0xfe, .. "\n2,x\n"u8], "b"), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Csv_OfOneClass_IsRefused()
    {
        using var client = await platform.ClientAsync("operator");
        var csv = "a,b\n" + string.Concat(Enumerable.Range(0, 50).Select(i => $"{i},same\n"));

        Assert.Contains("class", await UploadFaultAsync(client, Encoding.UTF8.GetBytes(csv), "b"), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Roles_AreKept_AndRevokedKeysRefusedWithinSeconds()
    {
        var created = await platform.Admin.Keys.CreateAsync("leaving", "reader");
        using var reader = new DeepSeekClient(platform.Gateway, created.Key);
        await reader.Keys.WhoAmIAsync();
        var forbidden = await Assert.ThrowsAsync<DeepSeekApiException>(() => reader.Keys.CreateAsync("more", "admin"));
        Assert.Equal(HttpStatusCode.Forbidden, forbidden.Status);

        await platform.Admin.Keys.RevokeAsync(created.Id);

        await DeepSeek.Testing.Eventually.True(
            async () =>
            {
                try
                {
                    await reader.Keys.WhoAmIAsync();
                    return false;
                }
                catch (DeepSeekApiException refused)
                {
                    return refused.Status == HttpStatusCode.Unauthorized;
                }
            });
    }

    [Fact]
    public async Task ForgedIdentityHeader_BuysNothing()
    {
        using var http = new HttpClient { BaseAddress = platform.Gateway };
        http.DefaultRequestHeaders.Add("X-DeepSeek-Identity", "eyJzdWIiOiJyb290Iiwicm9sZSI6ImFkbWluIn0.AAAA");

        using var response = await http.GetAsync("/api/v1/jobs");

        Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
    }

    private async Task<HttpResponseMessage> SendAsync(string method, string path, string? body)
    {
        using var http = new HttpClient { BaseAddress = platform.Gateway };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", platform.AdminKey);
        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json") };
        return await http.SendAsync(request);
    }

    // Some faults show while the bytes arrive, others when the job reads them: either way they are named.
    private static async Task<string> UploadFaultAsync(DeepSeekClient client, byte[] csv, string target)
    {
        try
        {
            var dataset = await client.Datasets.CreateAsync(
                new DatasetSpec { Name = $"broken-{Guid.NewGuid():N}", Format = "csv", Target = target }, [new UploadFile("broken.csv", () => new MemoryStream(csv))]);
            var job = await client.Jobs.WaitAsync(dataset.JobId);
            Assert.Equal("failed", job.State);
            Assert.Equal(1, job.Attempt);
            return job.Error!;
        }
        catch (DeepSeekApiException refused)
        {
            Assert.InRange((int)refused.Status, 400, 499);
            return refused.Message + string.Concat(refused.Errors.SelectMany(error => error.Value.Prepend(error.Key)));
        }
    }
}
