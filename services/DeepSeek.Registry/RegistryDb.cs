using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Datasets;
using DeepSeek.Registry.Models;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace DeepSeek.Registry;

/// <summary>The registry's database; <c>Migrations/</c> holds its SQL.</summary>
public sealed class RegistryDb(DbContextOptions<RegistryDb> options) : DbContext(options)
{
    public DbSet<Blob> Blobs => Set<Blob>();

    public DbSet<BlobReference> BlobReferences => Set<BlobReference>();

    public DbSet<Model> Models => Set<Model>();

    public DbSet<ModelVersion> Versions => Set<ModelVersion>();

    public DbSet<ModelAlias> Aliases => Set<ModelAlias>();

    public DbSet<AliasMove> AliasMoves => Set<AliasMove>();

    public DbSet<DatasetRecord> Datasets => Set<DatasetRecord>();

    public DbSet<AuditEntry> AuditEntries => Set<AuditEntry>();

    public DbSet<AuditHead> AuditHeads => Set<AuditHead>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Blob>(e => e.ToTable("blobs").HasKey(b => b.Sha256));
        modelBuilder.Entity<BlobReference>(e => e.ToTable("blob_references").HasKey(r => new { r.OwnerKind, r.OwnerId, r.Sha256 }));
        modelBuilder.Entity<DatasetRecord>(e => e.ToTable("datasets").Property(d => d.Id).ValueGeneratedNever());
        modelBuilder.Entity<AuditEntry>(e => e.ToTable("audit_entries").HasKey(a => a.Sequence));
        modelBuilder.Entity<AuditEntry>().Property(a => a.Sequence).ValueGeneratedNever();
        modelBuilder.Entity<AuditHead>(e => e.ToTable("audit_head").Property(h => h.Id).ValueGeneratedNever());
        MapModels(modelBuilder);
    }

    private static void MapModels(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Model>(e =>
        {
            e.ToTable("models");
            e.Property(m => m.Id).ValueGeneratedNever();
            e.HasMany(m => m.Versions).WithOne(v => v.Model).HasForeignKey(v => v.ModelId);
            e.HasMany(m => m.Aliases).WithOne().HasForeignKey(a => a.ModelId);
        });
        modelBuilder.Entity<ModelVersion>(e =>
        {
            e.ToTable("model_versions");
            e.Property(v => v.Id).ValueGeneratedNever();
            e.Property(v => v.SourceKind).HasConversion(Lower<SourceKind>());
            e.HasMany(v => v.Artifacts).WithOne().HasForeignKey(a => a.VersionId);
            e.HasMany(v => v.Metrics).WithOne().HasForeignKey(m => m.VersionId);
            e.HasMany(v => v.Approvals).WithOne().HasForeignKey(a => a.VersionId);
            e.HasMany(v => v.Aliases).WithOne(a => a.Version).HasForeignKey(a => a.VersionId);
        });
        modelBuilder.Entity<VersionArtifact>(e => e.ToTable("version_artifacts").HasKey(a => new { a.VersionId, a.Name }));
        modelBuilder.Entity<VersionMetric>(e => e.ToTable("version_metrics").HasKey(m => new { m.VersionId, m.Name }));
        modelBuilder.Entity<VersionApproval>(e =>
        {
            e.ToTable("version_approvals");
            e.Property(a => a.Id).ValueGeneratedNever();
            e.Property(a => a.Decision).HasConversion(Lower<Decision>());
        });
        modelBuilder.Entity<AliasMove>(e => e.ToTable("alias_moves").Property(m => m.Id).UseIdentityAlwaysColumn());
        modelBuilder.Entity<ModelAlias>(e =>
        {
            e.ToTable("model_aliases");
            e.HasKey(a => new { a.ModelId, a.Alias });
            e.HasOne(a => a.Move).WithMany().HasForeignKey(a => a.MoveId);
        });
    }

    private static ValueConverter<T, string> Lower<T>() where T : struct, Enum =>
        new(value => value.ToString().ToLowerInvariant(), text => Enum.Parse<T>(text, true));
}
