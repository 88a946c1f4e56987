using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.ServiceDefaults.Messaging;
using DeepSeek.ServiceDefaults.Tests.Sample;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Jobs;

public sealed class JobSubjectTests(SampleFixture fixture) : IClassFixture<SampleFixture>
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Submit_UnderOneKeyAtTheSameTime_MakesOneRowAndOneJob()
    {
        var key = Guid.NewGuid().ToString();
        var rows = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => fixture.Service.WithDbAsync(db =>
            db.SubmitAsync(New(key), JobKinds.Explain, "errand", 60, Token))));

        var row = Assert.Single(rows.DistinctBy(r => r.Id));
        Assert.Equal(row.Id, (await fixture.Service.WithDbAsync(db => db.FindRepeatedAsync<Errand>(key, Token)))!.Id);
        Assert.Equal(1, await fixture.Service.WithDbAsync(db => db.Errands.CountAsync(errand => errand.RequestKey == key, Token)));
        var told = await fixture.Service.WithDbAsync(db => db.Set<OutboxMessage>()
            .Where(message => message.MessageType.Contains(nameof(SubmitJob))).Select(message => message.Body).ToListAsync(Token));
        Assert.Equal([row.JobId.ToString()], told.Select(body => JsonDocumentOf(body).GetProperty("jobId").GetString()).Where(id => rows.Any(r => $"{r.JobId}" == id)));
    }

    [Fact]
    public async Task Take_OlderOrSameAttempt_IsDropped()
    {
        var id = await AddAsync(SubjectState.Queued, attempt: 2);
        foreach (var attempt in new[] { 1, 2 })
        {
            var job = Job(id, attempt);
            Assert.Null(await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token)));
            Assert.True(job.Dropped);
        }

        var taken = await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(Job(id, 3), Token));
        Assert.Equal((SubjectState.Running, 3), (taken!.State, taken.Attempt));
    }

    [Theory]
    [InlineData(SubjectState.Failed)]
    [InlineData(SubjectState.Cancelled)]
    [InlineData(SubjectState.Running)]
    public async Task Take_AfterAnEndWithoutResult_StartsAfresh(SubjectState state)
    {
        var id = await AddAsync(state, attempt: 1, error: "lost");
        var job = Job(id, 2);
        var taken = await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token));

        Assert.Equal((SubjectState.Running, job.LeaseId, null, null), (taken!.State, taken.LeaseId!.Value, taken.Error, taken.EndedAt));
    }

    [Theory]
    [InlineData(SubjectState.Succeeded)]
    [InlineData(SubjectState.Refused)]
    public async Task Take_AfterTheResult_TellsOfItAgain(SubjectState state)
    {
        var id = await AddAsync(state, attempt: 1, error: "over budget");
        var job = Job(id, 2);

        Assert.Null(await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token)));

        Assert.Equal(state == SubjectState.Succeeded ? $"/errands/{id}" : null, job.ResultUri);
        Assert.Equal(state == SubjectState.Refused ? ("over budget", false) : null, job.Failure);
        Assert.Equal(1, (await ReadAsync(id)).Attempt);
    }

    [Fact]
    public async Task Take_RowGone_RefusesTheJob() =>
        await Assert.ThrowsAsync<JobRefusedException>(() => fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(Job(Guid.NewGuid(), 1), Token)));

    [Fact]
    public async Task End_LeaseOfANewerAttempt_StoresAndTellsNothing()
    {
        var id = await AddAsync(SubjectState.Queued, attempt: 0);
        var (stale, current) = (Job(id, 1), Job(id, 2));
        foreach (var job in new[] { stale, current })
        {
            Assert.NotNull(await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token)));
        }

        Assert.False(await EndAsync(stale, "old"));
        Assert.True(stale.Dropped);
        Assert.Null(stale.ResultUri);
        Assert.True(await EndAsync(current, "new"));
        Assert.False(await EndAsync(current, "twice"));
        var row = await ReadAsync(id);
        Assert.Equal((SubjectState.Succeeded, "new", Now), (row.State, row.Report, row.EndedAt!.Value));
    }

    [Fact]
    public async Task End_StoresNothingBeforeTheLastReportWasSent()
    {
        var id = await AddAsync(SubjectState.Queued, attempt: 0);
        SubjectState? then = null;
        var job = new RecordedJob
        {
            JobId = Guid.NewGuid(), SubjectId = id, LeaseId = Guid.NewGuid(), Attempt = 1, Flushing = async () => then = (await ReadAsync(id)).State,
        };
        await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token));

        Assert.True(await EndAsync(job, "done"));

        Assert.Equal((SubjectState.Running, SubjectState.Succeeded), (then, (await ReadAsync(id)).State));
    }

    [Fact]
    public async Task Yield_ThenEndUnderTheSameLease_StoresNothing()
    {
        var id = await AddAsync(SubjectState.Queued, attempt: 0);
        var job = Job(id, 1);
        await fixture.Service.WithDbAsync(db => db.TakeAsync<Errand>(job, Token));

        Assert.True(await fixture.Service.WithDbAsync(db => db.YieldAsync<Errand>(job)));
        Assert.True(job.Yielded);
        Assert.False(await EndAsync(job, "late"));
        Assert.Equal((SubjectState.Queued, null), ((await ReadAsync(id)).State, (await ReadAsync(id)).Report));
    }

    [Theory]
    [InlineData(SubjectState.Queued, 0, JobState.Cancelled, 0, SubjectState.Cancelled)]
    [InlineData(SubjectState.Running, 2, JobState.Failed, 2, SubjectState.Failed)]
    [InlineData(SubjectState.Running, 2, JobState.Failed, 0, SubjectState.Failed)] // attempt unknown
    [InlineData(SubjectState.Running, 2, JobState.Failed, 1, SubjectState.Running)] // of an earlier attempt
    [InlineData(SubjectState.Running, 2, JobState.Cancelled, 1, SubjectState.Running)]
    [InlineData(SubjectState.Failed, 2, JobState.Cancelled, 2, SubjectState.Cancelled)] // cancelled while it waited for its retry
    [InlineData(SubjectState.Succeeded, 2, JobState.Failed, 2, SubjectState.Succeeded)]
    [InlineData(SubjectState.Refused, 2, JobState.Failed, 2, SubjectState.Refused)]
    [InlineData(SubjectState.Running, 2, JobState.Succeeded, 2, SubjectState.Running)]
    public async Task JobEnded_MarksOnlyWhatNoWorkerHasStored(SubjectState before, int attempt, JobState end, int endOf, SubjectState after)
    {
        var id = await AddAsync(before, attempt, error: "stored by the worker");
        var row = await ReadAsync(id);
        await fixture.Service.WithDbAsync(async db =>
        {
            var consumer = new ErrandEndedConsumer(db);
            await consumer.HandleAsync(new JobEnded { JobId = row.JobId, Kind = JobKinds.Explain, SubjectId = id, State = end, Attempt = endOf, Error = "no worker came" }, Token);
            await consumer.HandleAsync(new JobEnded { JobId = row.JobId, Kind = JobKinds.Train, SubjectId = id, State = JobState.Failed, Error = "of another kind" }, Token);
            Assert.Equal([before != after], consumer.Marked);
            return 0;
        });

        var marked = await ReadAsync(id);
        Assert.Equal((after, before == after ? "stored by the worker" : "no worker came"), (marked.State, marked.Error));
    }

    private static Errand New(string? key = null) => new()
    {
        Id = Guid.CreateVersion7(), JobId = Guid.NewGuid(), RequestKey = key, Owner = "ada", CreatedAt = Now,
    };

    private static RecordedJob Job(Guid subject, int attempt) =>
        new() { JobId = Guid.NewGuid(), SubjectId = subject, LeaseId = Guid.NewGuid(), Attempt = attempt };

    private static System.Text.Json.JsonElement JsonDocumentOf(string body) => System.Text.Json.JsonElement.Parse(body);

    private Task<bool> EndAsync(RecordedJob job, string report) => fixture.Service.WithDbAsync(db =>
        db.EndAsync<Errand>(job, SubjectState.Succeeded, Now, row => row.SetProperty(r => r.Report, report), () => job.Complete(db, $"/errands/{job.SubjectId}")));

    private Task<Errand> ReadAsync(Guid id) => fixture.Service.WithDbAsync(db => db.Errands.AsNoTracking().SingleAsync(row => row.Id == id, Token));

    private Task<Guid> AddAsync(SubjectState state, int attempt, string? error = null) => fixture.Service.WithDbAsync(async db =>
    {
        var row = New();
        (row.State, row.Attempt, row.Error) = (state, attempt, error);
        db.Add(row);
        await db.SaveChangesAsync(Token);
        return row.Id;
    });

    private sealed class ErrandEndedConsumer(SampleDb db) : SubjectEndedConsumer<SampleDb, Errand>(db, TimeProvider.System, JobKinds.Explain)
    {
        public List<bool> Marked { get; } = [];

        public Task HandleAsync(JobEnded message, CancellationToken cancellationToken) => HandleAsync(Db, message, cancellationToken);

        private SampleDb Db { get; } = db;

        protected override Task EndedAsync(SampleDb db, JobEnded message, bool marked, CancellationToken cancellationToken)
        {
            Marked.Add(marked);
            return Task.CompletedTask;
        }
    }
}
