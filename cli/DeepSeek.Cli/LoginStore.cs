using System.Text.Json;

namespace DeepSeek.Cli;

/// <summary>Gateway and key to use, from the command line, the environment, the stored login, or this machine's own platform.</summary>
internal sealed record Login(Uri Gateway, string? Key)
{
    private static readonly Uri s_default = new("http://localhost:5080");

    /// <summary>Where the login is kept, readable by its owner alone.</summary>
    public static string StorePath => Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CONFIG_HOME") is { Length: > 0 } config ? config : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".config"),
        "deepseek", "login.json");

    /// <summary>The login in force; each part from the first place that has it.</summary>
    public static Login Resolve(Uri? gateway, string? key)
    {
        var stored = Read();
        var address = gateway
            ?? (Environment.GetEnvironmentVariable("DEEPSEEK_GATEWAY") is { Length: > 0 } text && Uri.TryCreate(text, UriKind.Absolute, out var set) ? set : null)
            ?? stored?.Gateway
            ?? LocalPlatform.Gateway()
            ?? s_default;
        key ??= Environment.GetEnvironmentVariable("DEEPSEEK_API_KEY") is { Length: > 0 } variable ? variable : null;
        key ??= stored is not null && stored.Gateway == address ? stored.Key : null; // a key is only ever sent to the gateway it was given for
        return new Login(address, key ?? (address.IsLoopback ? LocalPlatform.AdminKey() : null));
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
