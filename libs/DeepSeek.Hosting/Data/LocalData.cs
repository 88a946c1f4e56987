using Microsoft.Extensions.Configuration;

namespace Aspire.Hosting;

/// <summary>The folder that holds all of the application's data on this machine.</summary>
internal sealed class LocalData
{
    public const string Variable = "DEEPSEEK_DATA";

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    // Server processes that run as another user must be able to pass through.
    private const UnixFileMode Passable = OwnerOnly | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private LocalData(string root) => Root = root;

    public string Root { get; }

    /// <summary>The folder named by <c>DEEPSEEK_DATA</c>, else /var/lib/deepseek for root and ~/.local/share/deepseek for others.</summary>
    public static LocalData From(IConfiguration configuration)
    {
        var configured = configuration[Variable];
        return new LocalData(Path.GetFullPath(string.IsNullOrWhiteSpace(configured) ? Default() : configured));
    }

    /// <summary>A folder only the host's user can read, made if it is not there.</summary>
    public string PrivateFolder(params string[] parts) => Folder(OwnerOnly, parts);

    /// <summary>A folder others can pass through, made if it is not there.</summary>
    public string PassableFolder(params string[] parts) => Folder(Passable, parts);

    private string Folder(UnixFileMode mode, string[] parts)
    {
        Make(Root, Passable);
        var path = Root;
        for (var i = 0; i < parts.Length; i++)
        {
            path = Path.Combine(path, parts[i]);
            Make(path, i == parts.Length - 1 ? mode : Passable);
        }

        return path;
    }

    private static void Make(string path, UnixFileMode mode)
    {
        if (Directory.Exists(path))
        {
            return;
        }

        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, mode);
        }
    }

    private static string Default() => Environment.IsPrivilegedProcess
        ? "/var/lib/deepseek"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "deepseek");
}
