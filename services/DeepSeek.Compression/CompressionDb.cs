using DeepSeek.Compression.Compressions;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Compression;

public sealed class CompressionDb(DbContextOptions<CompressionDb> options) : DbContext(options)
{
    public DbSet<CompressionRecord> Compressions => Set<CompressionRecord>();

    protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<CompressionRecord>(row =>
    {
        row.ToTable("compressions");
        row.Property(compression => compression.Id).ValueGeneratedNever();
        row.Property(compression => compression.State).HasConversion<string>();
    });
}
