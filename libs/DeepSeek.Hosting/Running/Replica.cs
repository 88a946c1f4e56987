namespace Aspire.Hosting;

/// <summary>One process of a resource.</summary>
internal sealed class Replica
{
    private const string SuffixLetters = "abcdefghjkmnpqrstuvwxyz";

    public Replica(IResource resource, int index, int count)
    {
        Resource = resource;
        Suffix = new string(Random.Shared.GetItems<char>(SuffixLetters, 8));
        Id = $"{resource.Name}-{Suffix}";
        LogName = count > 1 ? $"{resource.Name}.{index + 1}" : resource.Name;
    }

    public IResource Resource { get; }

    /// <summary>Name that no other process has, in this run or another.</summary>
    public string Id { get; }

    public string Suffix { get; }

    /// <summary>Name in the log.</summary>
    public string LogName { get; }

    /// <summary>Ports the running process listens on, by service name.</summary>
    public Dictionary<string, int> Ports { get; } = [];
}
