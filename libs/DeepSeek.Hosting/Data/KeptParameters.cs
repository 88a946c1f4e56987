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
                OwnFile.Replace(_path, JsonSerializer.SerializeToUtf8Bytes(values));
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
}
