using System.Buffers.Binary;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Onnx;
using DeepSeek.Registry.Blobs;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Models;

/// <summary>
/// Looks into the files of a version that somebody registers by hand. Only formats that are data go in: ONNX, safetensors, JSON, HTML.
/// Formats that run code when they are loaded (pickle and all that is built on it) are refused by name and by content.
/// </summary>
public sealed class ArtifactChecks(BlobFiles files)
{
    private const int MaxSafetensorsHeader = 100 << 20;
    private const long MaxJsonBytes = 64 << 20;

    public async Task RequireSafeAsync(IReadOnlyList<Artifact> artifacts, CancellationToken cancellationToken)
    {
        var errors = new Dictionary<string, string[]>();
        if (!artifacts.Any(a => a.Name == "model.onnx"))
            errors["artifacts"] = ["One artifact must be named 'model.onnx': the model as it is served."];
        for (var i = 0; i < artifacts.Count; i++)
        {
            var artifact = artifacts[i];
            if (artifacts.Take(i).Any(a => a.Name == artifact.Name))
                errors[$"artifacts[{i}].name"] = [$"'{artifact.Name}' is named twice."];
            else if (await FaultOfAsync(artifact, cancellationToken) is { } fault)
                errors[$"artifacts[{i}]"] = [fault];
        }

        if (errors.Count > 0)
            throw Problems.Invalid(errors);
    }

    private async Task<string?> FaultOfAsync(Artifact artifact, CancellationToken cancellationToken)
    {
        if (!Names.IsArtifact(artifact.Name))
            return $"'{Names.Shorten(artifact.Name)}' is not a file name: letters, digits, '-', '_' and a suffix, no folders.";
        if (!BlobRef.IsSha256(artifact.Sha256))
            return $"'{Names.Shorten(artifact.Sha256)}' is not 64 lower-case hexadecimal digits.";
        if (!files.Exists(artifact.Sha256))
            return $"The blob {artifact.Sha256} is not stored; upload it to /api/v1/blobs/{artifact.Sha256} first.";
        await using var stream = files.Open(artifact.Sha256);
        return Path.GetExtension(artifact.Name) switch
        {
            ".onnx" => OnnxFault(stream, artifact.Name),
            ".safetensors" => await SafetensorsFaultAsync(stream, artifact.Name, cancellationToken),
            ".json" => await JsonFaultAsync(stream, artifact.Name, cancellationToken),
            ".html" => null, // served only as a download
            _ => $"'{artifact.Name}' is of no safe format; export the model as .onnx, weights as .safetensors, and add .json or .html beside them.",
        };
    }

    private static string? OnnxFault(Stream stream, string name)
    {
        try
        {
            OnnxModels.Validate(stream);
            return null;
        }
        catch (InvalidOnnxException fault)
        {
            return $"'{name}': {fault.Message}";
        }
    }

    private static async Task<string?> JsonFaultAsync(Stream stream, string name, CancellationToken cancellationToken)
    {
        if (stream.Length > MaxJsonBytes)
            return $"'{name}' has {stream.Length} bytes; JSON may have {MaxJsonBytes} at most.";
        try
        {
            using var _ = await JsonDocument.ParseAsync(stream, new JsonDocumentOptions { MaxDepth = PlatformJson.MaxDepth }, cancellationToken);
            return null;
        }
        catch (JsonException fault)
        {
            return $"'{name}' is not JSON: {fault.Message}";
        }
    }

    /// <summary>The format: 8 bytes little-endian length, a JSON header <c>{name: {dtype, shape, data_offsets}}</c>, the data.</summary>
    private static async Task<string?> SafetensorsFaultAsync(Stream stream, string name, CancellationToken cancellationToken)
    {
        var prefix = new byte[8];
        if (await stream.ReadAtLeastAsync(prefix, 8, throwOnEndOfStream: false, cancellationToken) < 8)
            return $"'{name}' is too short for safetensors.";
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxSafetensorsHeader || length > (ulong)(stream.Length - 8))
            return $"'{name}' is not safetensors: its header would have {length} bytes.";
        var header = new byte[length];
        await stream.ReadExactlyAsync(header, cancellationToken);
        try
        {
            using var json = JsonDocument.Parse(header);
            var data = stream.Length - 8 - (long)length;
            foreach (var tensor in json.RootElement.EnumerateObject().Where(t => t.Name != "__metadata__"))
            {
                var offsets = tensor.Value.GetProperty("data_offsets");
                var (begin, end) = (offsets[0].GetInt64(), offsets[1].GetInt64());
                if (begin < 0 || end < begin || end > data)
                    return $"'{name}': tensor '{tensor.Name}' lies outside the file.";
            }

            return null;
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or IndexOutOfRangeException)
        {
            return $"'{name}' is not safetensors: its header is not the JSON the format wants.";
        }
    }
}
