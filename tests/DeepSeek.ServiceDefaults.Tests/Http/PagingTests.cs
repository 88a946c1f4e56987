using System.Net;
using System.Net.Http.Json;
using DeepSeek.ServiceDefaults.Tests.Sample;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Http;

public sealed class PagingTests(SampleFixture sample) : IClassFixture<SampleFixture>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task List_ReadByCursor_GivesEachItemOnceNewestFirst()
    {
        using var client = sample.Service.ClientOf(Roles.Operator);
        for (var i = 0; i < 7; i++)
        {
            (await client.PostAsJsonAsync("/notes", new { text = $"note {i}" }, Token)).EnsureSuccessStatusCode();
        }

        var texts = new List<string>();
        string? cursor = null;
        var pages = 0;
        do
        {
            var page = await client.GetFromJsonAsync<Page<string>>($"/notes?limit=3&cursor={cursor}", Token);
            texts.AddRange(page!.Items);
            cursor = page.Next;
            pages++;
        }
        while (cursor is not null);
        // Ids grow with time, but two of the same millisecond are in any order.
        var newestFirst = await sample.Service.WithDbAsync(db => db.Notes.OrderByDescending(note => note.Id).Select(note => note.Text).ToListAsync(Token));
        Assert.Equal(newestFirst, texts);
        Assert.Equal(7, texts.Distinct().Count());
        Assert.Equal(3, pages);
    }

    [Theory]
    [InlineData("limit=0", "limit")]
    [InlineData("limit=201", "limit")]
    [InlineData("limit=-5", "limit")]
    [InlineData("cursor=%2F%2F", "cursor")]
    [InlineData("cursor=bm90LWEtZ3VpZA", "cursor")]
    [InlineData("limit=abc", "limit")]
    [InlineData("limit=99999999999999999999", "limit")]
    public async Task List_WithABadParameter_Is400NamingIt(string query, string field)
    {
        using var client = sample.Service.ClientOf(Roles.Reader);
        using var response = await client.GetAsync("/notes?" + query, Token);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"\"{field}\":", await response.Content.ReadAsStringAsync(Token));
    }
}
