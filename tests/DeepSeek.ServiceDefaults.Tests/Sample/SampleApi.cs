using System.Security.Claims;
using System.Text.Json;
using DeepSeek.ServiceDefaults.Tests.Sample.Messages;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;

namespace DeepSeek.ServiceDefaults.Tests.Sample;

public enum Tone { Plain, VeryLoud }

public sealed record NewNote
{
    public required string Text { get; init; }
    public Tone Tone { get; init; }
    public double Loudness { get; init; }
    public JsonElement? Anything { get; init; }
    public Dictionary<string, Style> Styles { get; init; } = [];
}

public sealed record Style
{
    public required int Size { get; init; }
}

public static class SampleApi
{
    /// <summary>Most bytes that <c>POST /small</c> reads.</summary>
    public const int SmallLimit = 1000;

    public static void MapSampleApi(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/notes", WriteAsync).RequireAuthorization(Policies.Operator);
        routes.MapGet("/notes", ListAsync).RequireAuthorization(Policies.Reader);
        routes.MapGet("/whoami", (ClaimsPrincipal user) => user.Actor());
        routes.MapGet("/internal", () => "ok").RequireAuthorization(Policies.Service);
        routes.MapGet("/refuse", IResult () => throw new ApiProblem(429, "Too many requests", "Slow down.")
        {
            RetryAfter = TimeSpan.FromSeconds(1.2),
            Extensions = new Dictionary<string, object?> { ["limit"] = 5 },
        });
        routes.MapGet("/fault", IResult () => throw new InvalidOperationException("secret path /etc/passwd"));
        routes.MapPost("/small", async (HttpContext http) =>
        {
            http.Features.GetRequiredFeature<IHttpMaxRequestBodySizeFeature>().MaxRequestBodySize = SmallLimit;
            await http.Request.Body.CopyToAsync(Stream.Null);
        });
        routes.MapPut("/tagged", (HttpContext http) => { ETags.Require(http, 3); return "changed"; });
    }

    private static async Task<Created> WriteAsync(NewNote note, SampleDb db, CancellationToken cancellationToken)
    {
        var row = new Note { Id = Guid.CreateVersion7(), Text = note.Text, WrittenAt = DateTimeOffset.UtcNow };
        db.Notes.Add(row);
        db.Publish(new NoteWritten { NoteId = row.Id, Text = row.Text });
        await db.SaveChangesAsync(cancellationToken);
        return TypedResults.Created($"/notes/{row.Id}");
    }

    private static Task<Page<string>> ListAsync([AsParameters] PageRequest page, SampleDb db, CancellationToken cancellationToken) =>
        db.Notes.ToPageAsync(note => note.Id, page, note => note.Text, cancellationToken);
}
