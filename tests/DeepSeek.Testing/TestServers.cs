namespace DeepSeek.Testing;

/// <summary>
/// The servers that tests run against: those named by <c>DEEPSEEK_TEST_POSTGRES</c>, <c>_RABBITMQ</c>, <c>_RABBITMQ_MANAGEMENT</c> and
/// <c>_REDIS</c>, else (when none is set) own ones, started once per test process and ended with it.
/// </summary>
public static class TestServers
{
    private const string Prefix = "DEEPSEEK_TEST_";
    private static readonly string[] s_names = ["POSTGRES", "RABBITMQ", "RABBITMQ_MANAGEMENT", "REDIS"];
    private static readonly Lazy<Addresses> s_addresses = new(Find);

    public static string Postgres => s_addresses.Value.Postgres;
    public static Uri RabbitMq => s_addresses.Value.RabbitMq;
    public static Uri RabbitMqManagement => s_addresses.Value.RabbitMqManagement;
    public static string Redis => s_addresses.Value.Redis;

    /// <summary>The variables by which another process finds these servers.</summary>
    public static IReadOnlyDictionary<string, string> ToVariables() => s_names.Zip(
        [Postgres, RabbitMq.AbsoluteUri, RabbitMqManagement.AbsoluteUri, Redis]).ToDictionary(pair => Prefix + pair.First, pair => pair.Second);

    private static Addresses Find()
    {
        var values = s_names
            .Select(name => (Name: Prefix + name, Value: Environment.GetEnvironmentVariable(Prefix + name))).ToList();
        if (values.All(value => string.IsNullOrEmpty(value.Value)))
        {
            // A test's synchronization context must not be what the start waits for.
            return Task.Run(OwnServers.StartAsync).GetAwaiter().GetResult();
        }

        var missing = values.Where(value => string.IsNullOrEmpty(value.Value)).Select(value => value.Name).ToList();
        return missing.Count == 0
            ? new Addresses(values[0].Value!, new Uri(values[1].Value!), new Uri(values[2].Value!), values[3].Value!)
            : throw new InvalidOperationException($"Set {string.Join(", ", missing)} as well, or none of {Prefix}* to have servers started.");
    }

    internal sealed record Addresses(string Postgres, Uri RabbitMq, Uri RabbitMqManagement, string Redis);
}
