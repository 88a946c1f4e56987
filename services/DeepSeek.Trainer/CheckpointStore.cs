using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;

namespace DeepSeek.Trainer;

/// <summary>
/// Checkpoints of one run: safetensors with the run's state as metadata, followed by the SHA-256 of all that. Written beside and
/// renamed; the newest that is whole and of this very run counts.
/// </summary>
internal sealed class CheckpointStore
{
    private const int Kept = 3;
    private const string StateKey = "state";
    private const string RunKey = "run";
    private readonly string _folder;
    private readonly string _run;
    private readonly TrainerEvents _events;

    /// <summary>Opens the folder and removes what a killed writer left.</summary>
    internal CheckpointStore(string folder, string run, TrainerEvents events)
    {
        (_folder, _run, _events) = (folder, run, events);
        Directory.CreateDirectory(folder);
        foreach (var remains in Directory.EnumerateFiles(folder, "*.tmp"))
        {
            File.Delete(remains);
        }
    }

    internal void Save(RunState state, IEnumerable<NamedTensor> tensors)
    {
        var metadata = new Dictionary<string, string> { [RunKey] = _run, [StateKey] = JsonSerializer.Serialize(state, TrainerEvents.Json) };
        AtomicFile.Write(Path.Combine(_folder, $"step-{state.Step.ToString("D10", CultureInfo.InvariantCulture)}.ckpt"), stream =>
        {
            using var buffer = new MemoryStream();
            Safetensors.Write(buffer, tensors, metadata);
            var content = buffer.GetBuffer().AsSpan(0, (int)buffer.Length);
            stream.Write(content);
            stream.Write(SHA256.HashData(content));
        });
        foreach (var old in Newest().Skip(Kept))
        {
            File.Delete(old);
        }
        _events.Checkpoint(state.Step);
    }

    /// <summary>The newest valid checkpoint; the caller disposes its tensors. Damaged ones are told of and passed over.</summary>
    internal (RunState State, SafetensorsContent Content, string Path)? Load()
    {
        foreach (var path in Newest())
        {
            try
            {
                return Read(path);
            }
            catch (Exception fault) when (fault is InvalidDataException or JsonException or IOException)
            {
                _events.Warning($"Checkpoint {Path.GetFileName(path)} is passed over: {fault.Message}");
            }
        }
        return null;
    }

    private (RunState, SafetensorsContent, string) Read(string path)
    {
        var file = File.ReadAllBytes(path);
        if (file.Length < SHA256.HashSizeInBytes)
        {
            throw new InvalidDataException("it is cut off.");
        }
        var content = file.AsSpan(0, file.Length - SHA256.HashSizeInBytes);
        if (!SHA256.HashData(content).AsSpan().SequenceEqual(file.AsSpan(content.Length)))
        {
            throw new InvalidDataException("its checksum does not fit.");
        }
        var tensors = Safetensors.Read(content);
        if (tensors.Metadata.GetValueOrDefault(RunKey) != _run || JsonSerializer.Deserialize<RunState>(tensors.Metadata.GetValueOrDefault(StateKey) ?? "null", TrainerEvents.Json) is not { } state)
        {
            tensors.Dispose();
            throw new InvalidDataException("it belongs to another spec or dataset.");
        }
        return (state, tensors, path);
    }

    private IEnumerable<string> Newest() => Directory.EnumerateFiles(_folder, "step-*.ckpt").OrderDescending(StringComparer.Ordinal);
}
