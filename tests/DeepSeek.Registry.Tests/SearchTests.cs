using System.Net;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Tests;

public sealed class SearchTests(SearchTests.Fixture registry) : IClassFixture<SearchTests.Fixture>
{
    [Theory]
    [InlineData("", "churn,fraud-eu,fraud-us")]
    [InlineData("fraud", "fraud-eu,fraud-us")]
    [InlineData("fraud us", "fraud-us")]
    [InlineData("metrics.accuracy>=0.9", "fraud-eu,fraud-us")]
    [InlineData("metrics.accuracy>0.9", "fraud-us")]
    [InlineData("metrics.accuracy<0.9", "churn")]
    [InlineData("metrics.accuracy<=0.9 fraud", "fraud-eu")]
    [InlineData("alias:staging", "churn")]
    [InlineData("alias:staging metrics.accuracy>0.85", "")] // churn has such a version, but it is not the one that is staged
    [InlineData("author:ann source:manual", "churn,fraud-eu,fraud-us")]
    [InlineData("author:bob", "")]
    [InlineData("100%", "")]
    public async Task List_Search_FindsThese(string search, string expected) =>
        Assert.Equal(expected, await NamesAsync(search));

    [Fact]
    public async Task List_SearchForAnArtifactsHash_FindsItsModel() =>
        Assert.Equal("fraud-us", await NamesAsync("artifact:" + BlobHash.Of(RegistryFixture.Onnx("us"))));

    [Theory]
    [InlineData("colour:red")]
    [InlineData("metrics.accuracy>high")]
    [InlineData("source:1")]
    [InlineData("a b c d e f g h i j k l m n o p q")]
    public async Task List_SearchThatMeansNothing_IsRefused(string search)
    {
        using var response = await registry.Ann.GetAsync($"/api/v1/models?search={Uri.EscapeDataString(search)}");

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("search", await response.Content.ReadAsStringAsync());
    }

    private async Task<string> NamesAsync(string search) => string.Join(',',
        (await registry.GetAsync<Page<ModelView>>($"/api/v1/models?search={Uri.EscapeDataString(search)}")).Items.Select(m => m.Name));

    public sealed class Fixture : RegistryFixture
    {
        public override async ValueTask InitializeAsync()
        {
            await base.InitializeAsync();
            await RegisterAsync("fraud-us", Onnx("us"), new { accuracy = 0.95 });
            await RegisterAsync("fraud-eu", metrics: new { accuracy = 0.9 });
            await RegisterAsync("churn", metrics: new { accuracy = 0.8 });
            await RegisterAsync("churn", metrics: new { accuracy = 0.89 });
            (await SetAliasAsync("churn", "staging", 1)).EnsureSuccessStatusCode();
        }
    }
}
