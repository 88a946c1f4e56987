using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Workers;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling;

public sealed class SchedulingDb(DbContextOptions<SchedulingDb> options) : DbContext(options)
{
    public DbSet<Job> Jobs => Set<Job>();

    public DbSet<JobAttempt> Attempts => Set<JobAttempt>();

    public DbSet<JobEvent> Events => Set<JobEvent>();

    public DbSet<Worker> Workers => Set<Worker>();

    public DbSet<PlanningState> Planning => Set<PlanningState>();

    protected override void OnModelCreating(ModelBuilder model)
    {
        model.Entity<Job>(job =>
        {
            job.ToTable("jobs");
            job.Property(j => j.Id).ValueGeneratedNever();
            job.Property(j => j.Sequence).UseIdentityByDefaultColumn();
            job.HasMany(j => j.Attempts).WithOne().HasForeignKey(attempt => attempt.JobId);
            job.HasMany(j => j.Events).WithOne().HasForeignKey(entry => entry.JobId);
        });
        model.Entity<JobAttempt>().ToTable("job_attempts").HasKey(attempt => new { attempt.JobId, attempt.Dispatch });
        model.Entity<JobEvent>().ToTable("job_events").HasKey(entry => new { entry.JobId, entry.Seq });
        model.Entity<Worker>().ToTable("workers");
        model.Entity<PlanningState>().ToTable("planning").Property(state => state.Id).ValueGeneratedNever();
    }
}

/// <summary>The one row that all replicas plan by.</summary>
public sealed class PlanningState
{
    public int Id { get; init; }
    public DateTimeOffset PlannedAt { get; set; }
    public DateTimeOffset NoExpiryBefore { get; set; }
}
