using DeepSeek.Engine.Native;
using Microsoft.Extensions.Logging;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Onnx.Runtime;

/// <summary>
/// Opens models in ONNX Runtime with the platform's own operators (libdeepseek_onnx), where that library is there. Where it is not, a model
/// computes them by the functions that it carries. All services open models here, so that what is explained or compressed is what is served.
/// </summary>
public static partial class PlatformOperators
{
    /// <summary>The library of the operators.</summary>
    public const string FileName = "libdeepseek_onnx.so";

    /// <summary>Environment variable with libdeepseek's file or folder, in which the library lies too.</summary>
    public const string PathVariable = NativeFiles.PathVariable;

    private static readonly Lazy<(string? Path, string? Missing)> s_found = new(() => Find(Candidates(Environment.GetEnvironmentVariable(PathVariable), AppContext.BaseDirectory)));
    private static int s_told;

    /// <summary>The library's file; null when it cannot be used.</summary>
    public static string? Library => s_found.Value.Path;

    /// <summary>Why the library cannot be used, and what helps; null when it can.</summary>
    public static string? Missing => s_found.Value.Missing;

    /// <summary>Opens a file. A model without the platform's operators is loaded as ONNX Runtime loads any.</summary>
    /// <param name="path">The model.</param>
    /// <param name="options">Of the session; the library is added to them where the model needs it.</param>
    /// <param name="attention">How its block-sparse attention is computed; null for a model that has none.</param>
    /// <param name="logger">Told, once a process, that the library is missed.</param>
    /// <exception cref="OnnxRuntimeException">ONNX Runtime refuses the model.</exception>
    /// <exception cref="InvalidOnnxException">It is no model, or needs the library and has no function in its place.</exception>
    public static InferenceSession Open(string path, SessionOptions options, out ServedAttention? attention, ILogger? logger = null)
    {
        byte[]? model;
        using (var file = File.OpenRead(path))
        {
            model = Prepare(file, s_found.Value, options, out attention, logger);
        }
        return model is null ? new InferenceSession(path, options) : new InferenceSession(model, options);
    }

    /// <summary>Opens a model that is in memory; see the other overload.</summary>
    public static InferenceSession Open(byte[] model, SessionOptions options, out ServedAttention? attention, ILogger? logger = null)
    {
        using var stream = new MemoryStream(model, writable: false);
        return new InferenceSession(Prepare(stream, s_found.Value, options, out attention, logger) ?? model, options);
    }

    /// <summary>The bytes to load in place of the model's own; null when these will do.</summary>
    internal static byte[]? Prepare(Stream model, (string? Path, string? Missing) library, SessionOptions options, out ServedAttention? attention, ILogger? logger)
    {
        var layout = ModelLayout.Of(model);
        attention = !layout.UsesPlatform ? null : library.Path is null ? ServedAttention.Dense : ServedAttention.BlockSparse;
        if (attention is null)
        {
            return null;
        }
        if (library.Path is not null)
        {
            options.RegisterCustomOpLibrary(library.Path);
            // Left in, the function might be taken in the operator's place.
            return layout.Functions.Count > 0 ? layout.WithoutFunctions(model) : null;
        }
        if (layout.Functions.Count == 0)
        {
            throw new InvalidOnnxException($"The model needs operators of {BlockSparseNode.Domain} and has no functions in their place. {library.Missing}");
        }
        if (logger is not null && Interlocked.Exchange(ref s_told, 1) == 0)
        {
            LogDense(logger, library.Missing!);
        }
        return null;
    }

    internal static (string? Path, string? Missing) Find(IEnumerable<string> candidates)
    {
        var faults = new List<string>();
        foreach (var path in candidates)
        {
            if (!File.Exists(path))
            {
                faults.Add($"{path} is not there");
                continue;
            }
            try
            {
                using var options = new SessionOptions();
                options.RegisterCustomOpLibrary(path);
                return (path, null);
            }
            catch (Exception fault) when (fault is OnnxRuntimeException or DllNotFoundException or EntryPointNotFoundException)
            {
                faults.Add($"{path}: {fault.Message}");
            }
        }
        return (null, $"The operators' library {FileName} cannot be used: {string.Join("; ", faults)}. Build it with `eng/setup native`, or set {PathVariable} to its folder.");
    }

    // As for libdeepseek, an explicit path is the only one tried.
    internal static IEnumerable<string> Candidates(string? configured, string baseDirectory) =>
        string.IsNullOrEmpty(configured) ? NativeFiles.Candidates(baseDirectory, FileName)
        : [Path.Combine(Directory.Exists(configured) ? configured : Path.GetDirectoryName(Path.GetFullPath(configured))!, FileName)];

    [LoggerMessage(LogLevel.Warning, "Models with block-sparse attention are computed with dense attention: {Reason}")]
    private static partial void LogDense(ILogger logger, string reason);
}
