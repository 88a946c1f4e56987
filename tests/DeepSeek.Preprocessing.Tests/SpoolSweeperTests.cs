using DeepSeek.Preprocessing.Uploads;
using DeepSeek.Testing;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Npgsql;

namespace DeepSeek.Preprocessing.Tests;

public sealed class SpoolSweeperTests
{
    private static readonly NpgsqlConnectionStringBuilder Nowhere = new() { Host = "127.0.0.1", Port = 1, Database = "none", Username = "nobody", Timeout = 1 };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Start_DatabaseAtFault_StartsAndKeepsTheUploads(bool answers)
    {
        var fault = answers ? new PostgresException("no such relation", "ERROR", "ERROR", PostgresErrorCodes.UndefinedTable) : null;
        using var folder = new TestFolder();
        var options = Options.Create(new PreprocessingOptions());
        var spool = new Spool(folder.Path, options);
        var (upload, scratch) = (spool.CreateUpload(Guid.NewGuid()), spool.CreateScratch(Guid.NewGuid(), 1));
        using var sweeper = new SpoolSweeper(spool, new Databases(fault), options, TimeProvider.System, NullLogger<SpoolSweeper>.Instance);

        await sweeper.StartAsync(TestContext.Current.CancellationToken);

        Assert.True(Directory.Exists(upload), "whose it is could not be asked");
        Assert.False(Directory.Exists(scratch), "nobody's since the last process ended");
        await sweeper.StopAsync(TestContext.Current.CancellationToken);
    }

    private sealed class Databases(Exception? fault) : IDbContextFactory<PreprocessingDb>
    {
        public PreprocessingDb CreateDbContext() => fault is null
            ? new(new DbContextOptionsBuilder<PreprocessingDb>().UseNpgsql(Nowhere.ConnectionString).Options)
            : throw fault;
    }
}
