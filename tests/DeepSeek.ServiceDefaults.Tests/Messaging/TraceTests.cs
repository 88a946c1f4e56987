using System.Net.Http.Json;
using DeepSeek.ServiceDefaults.Tests.Sample;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Messaging;

public sealed class TraceTests(SampleFixture sample) : IClassFixture<SampleFixture>
{
    [Fact]
    public async Task TraceId_OfARequest_ReachesTheConsumerThroughOutboxAndBroker()
    {
        const string trace = "4bf92f3577b34da6a3ce929d0e0e4736"; // The example of the W3C recommendation.
        using var client = sample.Service.ClientOf(Roles.Operator);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/notes") { Content = JsonContent.Create(new { text = "traced" }) };
        request.Headers.Add("traceparent", $"00-{trace}-00f067aa0ba902b7-01");
        (await client.SendAsync(request, TestContext.Current.CancellationToken)).EnsureSuccessStatusCode();
        await Eventually.True(() => sample.Service.WithDbAsync(db => db.Echoes.AnyAsync(echo => echo.TraceId == trace)));
    }
}
