using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Testing;

namespace DeepSeek.Preprocessing.Tests;

public sealed class DuckDbTests : IDisposable
{
    private readonly TestFolder _folder = new();

    [Fact]
    public void Connection_FileNotNamed_CannotBeRead()
    {
        var allowed = Write("allowed.csv", "1\n");
        var other = Write("other.csv", "2\n");
        using var duck = Open(allowed);
        using (var reader = duck.Stream($"SELECT * FROM read_csv('{allowed}', header=false)"))
        {
            Assert.True(reader.Read());
        }
        foreach (var sql in new[]
        {
            $"SELECT * FROM read_csv('{other}', header=false)",
            "SELECT * FROM read_text('/etc/passwd')",
            $"SELECT * FROM read_text('{_folder.Path}/*')",
        })
        {
            Assert.Throws<DuckDbException>(() => duck.Stream(sql).Dispose());
        }
    }

    [Theory]
    [InlineData("SET enable_external_access=true")]
    [InlineData("SET memory_limit='8GB'")]
    [InlineData("SET threads=64")]
    [InlineData("INSTALL httpfs")]
    [InlineData("LOAD '/tmp/x.duckdb_extension'")]
    [InlineData("ATTACH '/tmp/x.db'")]
    [InlineData("COPY (SELECT 1) TO '/tmp/deepseek-duck-out.csv'")]
    public void Connection_Locked_RefusesWhatWouldOpenIt(string sql)
    {
        using var duck = Open(Write("a.csv", "1\n"));
        Assert.Throws<DuckDbException>(() => duck.Execute(sql));
    }

    [Fact]
    public void Reader_ManyChunks_KeepsTheOrderOfTheFile()
    {
        const int Rows = 300_000;
        var path = Write("n.csv", string.Join('\n', Enumerable.Range(0, Rows)) + "\n");
        using var duck = Open(path);
        using var reader = duck.Stream($"SELECT c FROM read_csv('{path}', header=false, auto_detect=false, columns={{'c': 'BIGINT'}})");
        long expected = 0;
        while (reader.Read())
        {
            for (var row = 0; row < reader.Rows; row++)
            {
                Assert.Equal(expected++, reader.Int64(0, row));
            }
        }
        Assert.Equal(Rows, expected);
    }

    [Fact]
    public void Literal_Quotes_CannotEscape()
    {
        using var duck = Open(Write("a.csv", "1\n"));
        const string Hostile = "'); DROP TABLE x; --\"";
        using var reader = duck.Stream($"SELECT {DuckDbConnection.Literal(Hostile)} AS {DuckDbConnection.Identifier(Hostile)}");
        Assert.True(reader.Read());
        Assert.Equal(Hostile, reader.Names[0]);
        Assert.Equal(Hostile, System.Text.Encoding.UTF8.GetString(reader.Text(0, 0)));
    }

    public void Dispose() => _folder.Dispose();

    private DuckDbConnection Open(string file) => new(new DuckDbLimits(256, 2, Directory.CreateDirectory(Path.Combine(_folder.Path, "temporary")).FullName), [file]);

    private string Write(string name, string content)
    {
        var path = Path.Combine(_folder.Path, name);
        File.WriteAllText(path, content);
        return path;
    }
}
