using DeepSeek.Preprocessing.Datasets;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Preprocessing;

/// <summary>The service's database; <c>Migrations/</c> holds its SQL.</summary>
public sealed class PreprocessingDb(DbContextOptions<PreprocessingDb> options) : DbContext(options)
{
    public DbSet<Dataset> Datasets => Set<Dataset>();

    protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Dataset>(e =>
    {
        e.ToTable("datasets");
        e.Property(d => d.Id).ValueGeneratedNever();
        e.Property(d => d.State).HasConversion(
            state => state == SubjectState.Refused ? "refused" : ((DatasetState)state).ToString().ToLowerInvariant(),
            text => text == "refused" ? SubjectState.Refused : (SubjectState)Enum.Parse<DatasetState>(text, ignoreCase: true));
        e.Property(d => d.Error).HasColumnName("problem_detail");
        e.Property(d => d.Spec).HasColumnType("jsonb");
        e.Property(d => d.Version).IsConcurrencyToken();
    });
}
