using System.Text.Json;

namespace DeepSeek.Cli;

/// <summary>Gateway and key to use, from the command line, the environment, the stored login, or this machine's own platform.</summary>
internal sealed record Login(Uri Gateway, string? Key)
{
    private const string GatewayVariable = "DEEPSEEK_GATEWAY";
    private const string KeyVariable = "DEEPSEEK_API_KEY";
    private static readonly Uri s_default = new("http://localhost:5080");

    /// <summary>Where the login is kept, readable by its owner alone.</summary>
    public static string StorePath => Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CONFIG_HOME") is { Length: > 0 } config ? config : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".config"),
        "deepseek", "login.json");

    /// <summary>An address a gateway can have, or null.</summary>
    public static Uri? TryAddress(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is ("http" or "https") ? address : null;

    /// <summary>The login in force; each part from the first place that has it.</summary>
    /// <param name="gateway">Address from the command line.</param>
    /// <param name="key">Key from the command line.</param>
    /// <param name="local">True for this machine's own platform, whatever the environment and the stored login say.</param>
    /// <exception cref="UsageException">An environment variable holds no address, or the key is none.</exception>
    public static Login Resolve(Uri? gateway, string? key, bool local)
    {
        if (local)
        {
            var own = gateway ?? LocalPlatform.Gateway() ?? s_default;
            return new Login(own, key ?? LocalPlatform.AdminKeyFor(own));
        }

        var stored = Read();
        var address = gateway
            ?? (Environment.GetEnvironmentVariable(GatewayVariable) is { Length: > 0 } text ? AddressOf(text) : null)
            ?? stored?.Gateway
            ?? LocalPlatform.Gateway()
            ?? s_default;
        key ??= Environment.GetEnvironmentVariable(KeyVariable) is { Length: > 0 } variable ? variable : null;
        key ??= stored is not null && stored.Gateway == address ? stored.Key : null; // a key is only ever sent to the gateway it was given for
        if (key is not null && key.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            // It could not be sent; where it comes from is said, not what it is.
            throw new UsageException($"The API key (--key, ${KeyVariable} or the stored login) holds blanks, line breaks or letters that no key has. Keys begin with dsk_.");
        }

        return new Login(address, key ?? LocalPlatform.AdminKeyFor(address));
    }

    /// <summary>Keeps this login for later commands.</summary>
    public void Store()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(StorePath)!);
        var part = StorePath + ".part";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(part, options))
        {
            JsonSerializer.Serialize(file, this);
        }

        File.Move(part, StorePath, overwrite: true);
    }

    private static Uri AddressOf(string text) => TryAddress(text)
        ?? throw new UsageException($"${GatewayVariable} holds '{text}', which is no address such as http://localhost:5080. Set it right, or unset it.");

    private static Login? Read()
    {
        try
        {
            return JsonSerializer.Deserialize<Login>(File.ReadAllBytes(StorePath));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }
}
