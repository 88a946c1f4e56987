namespace DeepSeek.Testing;

/// <summary>The servers that tests run against.</summary>
public static class TestServers
{
    public static string Postgres { get; } = Required("DEEPSEEK_TEST_POSTGRES");
    public static Uri RabbitMq { get; } = new(Required("DEEPSEEK_TEST_RABBITMQ"));
    public static Uri RabbitMqManagement { get; } = new(Required("DEEPSEEK_TEST_RABBITMQ_MANAGEMENT"));
    public static string Redis { get; } = Required("DEEPSEEK_TEST_REDIS");

    private static string Required(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value
        ? value
        : throw new InvalidOperationException($"Set {variable}: these tests run against real servers.");
}
