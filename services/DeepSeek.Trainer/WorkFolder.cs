namespace DeepSeek.Trainer;

/// <summary>Where a run's input, checkpoints and output lie.</summary>
internal sealed class WorkFolder(string root)
{
    internal string Spec => Path.Combine(root, "spec.json");
    internal string Dataset => Path.Combine(root, "dataset.json");
    internal string Pipeline => Path.Combine(root, "pipeline.onnx");
    internal string Checkpoints => Path.Combine(root, "checkpoints");
    internal string Output => Path.Combine(root, "output");

    internal string Shard(string sha256) => Path.Combine(root, "data", $"{sha256}.tar");

    /// <summary>Keeps a second trainer out until disposed or killed: two of them would overwrite each other's checkpoints.</summary>
    internal FileStream Lock(TimeSpan patience)
    {
        if (!Directory.Exists(root))
        {
            throw new BadInputException("work", $"{root} is no folder.");
        }
        var deadline = Environment.TickCount64 + (long)patience.TotalMilliseconds;
        while (true)
        {
            try
            {
                return new FileStream(Path.Combine(root, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException fault) when (fault is not (DirectoryNotFoundException or PathTooLongException))
            {
                // A trainer whose parent died is on its way out; anything else has no business here.
                if (Environment.TickCount64 > deadline)
                {
                    throw new IOException($"Another trainer is at work in {root}.", fault);
                }
                Thread.Sleep(100);
            }
        }
    }

    internal byte[] Read(string path) => File.Exists(path)
        ? File.ReadAllBytes(path)
        : throw new BadInputException(Path.GetFileName(path), $"{path} is missing.");
}
