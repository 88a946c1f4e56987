namespace DeepSeek.ServiceDefaults;

/// <summary>Where persistent files live: <c>$DEEPSEEK_DATA/&lt;area&gt;</c>.</summary>
public static class DataDirectories
{
    public const string Variable = "DEEPSEEK_DATA";

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Creates (readable by the owner only) and returns the folder of <paramref name="area"/>.</summary>
    public static string DataDirectory(this IHostApplicationBuilder builder, string area) =>
        builder.Configuration.DataDirectory(area);

    /// <inheritdoc cref="DataDirectory(IHostApplicationBuilder, string)"/>
    public static string DataDirectory(this IConfiguration configuration, string area)
    {
        var root = Path.GetFullPath(configuration[Variable] is { Length: > 0 } set ? set : Default());
        var path = Path.Combine(root, area);
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
            return path;
        }

        // Servers that run as another user have their folders beside ours and must get past the root.
        Directory.CreateDirectory(root, OwnerOnly | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        Directory.CreateDirectory(path, OwnerOnly);
        return path;
    }

    private static string Default() => Environment.IsPrivilegedProcess && !OperatingSystem.IsWindows()
        ? "/var/lib/deepseek"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "deepseek");
}
