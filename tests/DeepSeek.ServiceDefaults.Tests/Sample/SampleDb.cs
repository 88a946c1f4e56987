using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.ServiceDefaults.Tests.Sample.Messages;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Sample
{
    public sealed class SampleDb(DbContextOptions<SampleDb> options) : DbContext(options)
    {
        public DbSet<Note> Notes => Set<Note>();
        public DbSet<Echo> Echoes => Set<Echo>();

        public DbSet<Errand> Errands => Set<Errand>();

        protected override void OnModelCreating(ModelBuilder modelBuilder) =>
            modelBuilder.Entity<Echo>().Property(echo => echo.Id).UseIdentityAlwaysColumn();
    }

    public sealed class Note
    {
        public required Guid Id { get; init; }
        public required string Text { get; init; }
        public DateTimeOffset WrittenAt { get; init; }
    }

    public sealed class Echo
    {
        public long Id { get; private set; }
        public required Guid NoteId { get; init; }
        public string? TraceId { get; init; }
    }

    public sealed class Errand : JobSubject
    {
        public string? Report { get; set; }
        public override string ResultUri => $"/errands/{Id}";
    }

    public sealed class NoteWrittenConsumer(SampleDb db) : InboxConsumer<SampleDb, NoteWritten>(db)
    {
        protected override Task HandleAsync(SampleDb db, NoteWritten message, CancellationToken cancellationToken)
        {
            if (message.Text == "poison")
            {
                throw new InvalidOperationException("This note cannot be echoed.");
            }

            db.Echoes.Add(new Echo { NoteId = message.NoteId, TraceId = System.Diagnostics.Activity.Current?.TraceId.ToString() });
            return Task.CompletedTask;
        }
    }
}

namespace DeepSeek.ServiceDefaults.Tests.Sample.Messages
{
    public sealed record NoteWritten
    {
        public required Guid NoteId { get; init; }
        public required string Text { get; init; }
    }
}
