namespace Aspire.Hosting;

/// <summary>Holds the data folder for one host. The kernel releases it when the host ends, however it ends.</summary>
internal sealed class DataLock : IDisposable
{
    private readonly FileStream _file;

    private DataLock(FileStream file) => _file = file;

    public static DataLock Take(LocalData data)
    {
        var path = Path.Combine(data.PrivateFolder("host"), "lock");
        try
        {
            var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            file.SetLength(0);
            file.Write(System.Text.Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n"));
            file.Flush();
            return new DataLock(file);
        }
        catch (IOException fault)
        {
            throw new DistributedApplicationException($"Another host is using the data folder {data.Root}. Stop it, or set {LocalData.Variable} to another folder.", fault);
        }
    }

    public void Dispose() => _file.Dispose();
}
