using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Inference.Data;

internal sealed class InferenceDb(DbContextOptions<InferenceDb> options) : DbContext(options)
{
    public DbSet<Deployment> Deployments => Set<Deployment>();

    public DbSet<ServedVersion> ServedVersions => Set<ServedVersion>();

    public DbSet<Replica> Replicas => Set<Replica>();

    public DbSet<ReplicaVersion> ReplicaVersions => Set<ReplicaVersion>();

    public DbSet<Prediction> Predictions => Set<Prediction>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Deployment>(deployment =>
        {
            deployment.Property(d => d.Id).ValueGeneratedNever();
            deployment.Property(d => d.Revision).IsConcurrencyToken();
            deployment.HasOne(d => d.Version).WithMany().HasForeignKey(d => d.VersionId);
        });
        modelBuilder.Entity<ServedVersion>().Property(v => v.Id).ValueGeneratedNever();
        modelBuilder.Entity<Replica>(replica =>
        {
            replica.HasKey(r => r.Name);
            replica.Property(r => r.Name).HasColumnName("replica");
        });
        modelBuilder.Entity<ReplicaVersion>().HasKey(r => new { r.Replica, r.DeploymentId, r.Version });
        modelBuilder.Entity<Prediction>(prediction =>
        {
            prediction.Property(p => p.Id).ValueGeneratedNever();
            prediction.Property(p => p.Results).HasColumnType("jsonb");
        });
    }
}
