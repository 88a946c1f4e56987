using DeepSeek.Training.Runs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training;

public sealed class TrainingDb(DbContextOptions<TrainingDb> options) : DbContext(options)
{
    public DbSet<Run> Runs => Set<Run>();

    public DbSet<RunMetric> Metrics => Set<RunMetric>();

    protected override void OnModelCreating(ModelBuilder model)
    {
        model.Entity<Run>(run =>
        {
            run.ToTable("runs");
            run.Property(r => r.Id).ValueGeneratedNever();
            run.Property(r => r.Sequence).UseIdentityByDefaultColumn();
            run.Property(r => r.DatasetManifestSha256).HasColumnName("dataset_manifest_sha256");
        });
        model.Entity<RunMetric>(metric =>
        {
            metric.ToTable("run_metrics");
            metric.HasKey(m => new { m.RunId, m.Name, m.Step });
            metric.Property(m => m.Sequence).UseIdentityByDefaultColumn();
            metric.HasOne<Run>().WithMany().HasForeignKey(m => m.RunId);
        });
    }
}
