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

    internal byte[] Read(string path) => File.Exists(path)
        ? File.ReadAllBytes(path)
        : throw new BadInputException(Path.GetFileName(path), $"{path} is missing.");
}
