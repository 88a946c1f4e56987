using System.Text.Json;

namespace Aspire.Hosting;

/// <summary>Generated parameters, kept in a file only the host's user can read.</summary>
internal sealed class KeptParameters
{
    private static readonly Lock Gate = new();
    private readonly string _path;

    private KeptParameters(string path) => _path = path;

    public static KeptParameters Open(LocalData data) => new(Path.Combine(data.PrivateFolder("host"), "parameters.json"));

    public string GetOrAdd(string name, Func<string> make)
    {
        lock (Gate)
        {
            var values = Read();
            if (!values.TryGetValue(name, out var value))
            {
                values[name] = value = make();
                Write(values);
            }

            return value;
        }
    }

    private SortedDictionary<string, string> Read()
    {
        if (!File.Exists(_path))
        {
            return [];
        }

        try
        {
            return JsonSerializer.Deserialize<SortedDictionary<string, string>>(File.ReadAllBytes(_path)) ?? [];
        }
        catch (JsonException fault)
        {
            throw new DistributedApplicationException($"{_path} is not valid JSON ({fault.Message}). It holds the passwords of the servers' data: restore it, or delete the data folder to start afresh.", fault);
        }
    }

    // Written aside and renamed, so that a crash leaves the old file or the new one.
    private void Write(SortedDictionary<string, string> values)
    {
        var aside = _path + ".new";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(aside, options))
        {
            JsonSerializer.Serialize(file, values);
            file.Flush(flushToDisk: true);
        }

        File.Move(aside, _path, overwrite: true);
    }
}
