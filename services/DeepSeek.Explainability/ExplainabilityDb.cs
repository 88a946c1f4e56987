using DeepSeek.Explainability.Explanations;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Explainability;

public sealed class ExplainabilityDb(DbContextOptions<ExplainabilityDb> options) : DbContext(options)
{
    public DbSet<Explanation> Explanations => Set<Explanation>();

    protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Explanation>(row =>
    {
        row.ToTable("explanations");
        row.Property(explanation => explanation.State).HasConversion<string>();
    });
}
