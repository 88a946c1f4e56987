namespace DeepSeek.ServiceDefaults;

/// <summary>Where persistent files live: <c>$DEEPSEEK_DATA/&lt;area&gt;</c>.</summary>
public static class DataDirectories
{
    public const string Variable = "DEEPSEEK_DATA";

    /// <summary>Creates (readable by the owner only) and returns the folder of <paramref name="area"/>.</summary>
    public static string DataDirectory(this IHostApplicationBuilder builder, string area) =>
        builder.Configuration.DataDirectory(area);

    /// <inheritdoc cref="DataDirectory(IHostApplicationBuilder, string)"/>
    public static string DataDirectory(this IConfiguration configuration, string area)
    {
        var path = Path.GetFullPath(Path.Combine(configuration[Variable] is { Length: > 0 } set ? set : Default(), area));
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        return path;
    }

    private static string Default() => Environment.UserName == "root" && !OperatingSystem.IsWindows()
        ? "/var/lib/deepseek"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "deepseek");
}
