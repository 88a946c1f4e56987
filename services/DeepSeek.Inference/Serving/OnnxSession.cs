using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using DeepSeek.Inference.Protocol;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Serving;

/// <summary>A model in ONNX Runtime: joins works along axis 0, runs them once, splits the outputs again.</summary>
internal sealed class OnnxSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _runOptions = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
    private readonly string[] _inputNames;

    private OnnxSession(InferenceSession session, ServedAttention? attention)
    {
        _session = session;
        Attention = attention;
        Cache = KeyValueLayout.Of(session);
        Signature = ModelSignature.Of(session, Cache?.Present ?? []);
        Metadata = session.ModelMetadata.CustomMetadataMap;
        _inputNames = [.. Signature.Inputs.Select(i => i.Name)];
    }

    public ModelSignature Signature { get; }

    /// <summary>How it goes on from keys and values; null when it cannot.</summary>
    public KeyValueLayout? Cache { get; }

    /// <summary>How block-sparse attention is computed; null for a model that has none.</summary>
    public ServedAttention? Attention { get; }

    /// <summary>The model's metadata_props.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <param name="path">The model.</param>
    /// <param name="threads">Of an execution.</param>
    /// <param name="logger">Told when the platform's own operators are missed.</param>
    /// <exception cref="InvalidModelException">ONNX Runtime refuses the file.</exception>
    public static OnnxSession Load(string path, int threads, ILogger? logger = null)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions
        {
            IntraOpNumThreads = threads,
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            // Batches differ in size: a pattern of one size would be planned anew for each.
            EnableMemoryPattern = false,
            // Errors come as exceptions; the native log would only repeat them, values of requests included.
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL,
        };
        // Threads that spin between requests would take the cores from everything else on the machine.
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");

        InferenceSession? session = null;
        try
        {
            session = PlatformOperators.Open(path, options, out var attention, logger);
            return new OnnxSession(session, attention);
        }
        catch (InvalidOnnxException fault)
        {
            throw new InvalidModelException(fault.Message, fault);
        }
        catch (OnnxRuntimeException fault)
        {
            session?.Dispose();
            throw new InvalidModelException($"ONNX Runtime cannot load the model: {fault.Message}", fault);
        }
        catch
        {
            session?.Dispose();
            throw;
        }
    }

    /// <summary>Runs the works as one execution and gives each its outputs, in the order it asked for them.</summary>
    /// <exception cref="OnnxRuntimeException">The execution failed, for all works.</exception>
    /// <exception cref="NotSplittableException">An output does not follow the rows of the inputs.</exception>
    public Tensor[][] Run(IReadOnlyList<InferenceWork> works, out ExecutionTimes times)
    {
        var start = Stopwatch.GetTimestamp();
        var wanted = works.SelectMany(w => w.Outputs).Distinct().Order().ToArray();
        var inputs = new List<OrtValue>(_inputNames.Length);
        try
        {
            for (var i = 0; i < _inputNames.Length; i++)
            {
                inputs.Add(Join(works, i));
            }

            var ready = Stopwatch.GetTimestamp();
            var cache = works is [{ Cache: { } held }] ? held : null;
            using var outputs = new RunOutputs(Compute(inputs, wanted, cache), wanted.Length);
            var computed = Stopwatch.GetTimestamp();
            var results = Split(works, wanted, outputs.Wanted);
            cache?.Replace(outputs.TakeRest());
            times = new(start, ready, computed, Stopwatch.GetTimestamp());
            return results;
        }
        finally
        {
            foreach (var input in inputs)
            {
                input.Dispose();
            }
        }
    }

    public void Dispose()
    {
        _session.Dispose();
        _runOptions.Dispose();
    }

    private IReadOnlyList<OrtValue> Compute(List<OrtValue> inputs, int[] wanted, KeyValueCache? cache)
    {
        var outputs = wanted.Select(o => Signature.Outputs[o].Name);
        if (cache is null)
        {
            return _session.Run(_runOptions, _inputNames, inputs, [.. outputs]);
        }

        // Without a past the model's own, empty one stands.
        string[] names = cache.Values.Count == 0 ? _inputNames : [.. _inputNames, .. Cache!.Past];
        return _session.Run(_runOptions, names, [.. inputs, .. cache.Values], [.. outputs, .. Cache!.Present]);
    }

    private static OrtValue Join(IReadOnlyList<InferenceWork> works, int input)
    {
        var first = works[0].Inputs[input];
        var shape = (long[])first.Shape.Clone();
        for (var w = 1; w < works.Count; w++)
        {
            shape[0] += works[w].Inputs[input].Shape[0];
        }

        if (first.DataType == DataType.Bytes)
        {
            return JoinStrings(works, input, shape);
        }

        var value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, first.DataType.ElementType(), shape);
        var target = value.GetTensorMutableRawData();
        foreach (var work in works)
        {
            var data = work.Inputs[input].Data.Span;
            data.CopyTo(target);
            target = target[data.Length..];
        }

        return value;
    }

    private static OrtValue JoinStrings(IReadOnlyList<InferenceWork> works, int input, long[] shape)
    {
        var value = OrtValue.CreateTensorWithEmptyStrings(OrtAllocator.DefaultInstance, shape);
        var index = 0;
        foreach (var work in works)
        {
            var data = work.Inputs[input].Data.Span;
            while (!data.IsEmpty)
            {
                var length = (int)BinaryPrimitives.ReadUInt32LittleEndian(data);
                value.StringTensorSetElementAt(data.Slice(Tensor.LengthPrefix, length), index++);
                data = data[(Tensor.LengthPrefix + length)..];
            }
        }

        return value;
    }

    private Tensor[][] Split(IReadOnlyList<InferenceWork> works, int[] wanted, IReadOnlyList<OrtValue> values)
    {
        var results = works.Select(w => new Tensor[w.Outputs.Length]).ToArray();
        for (var o = 0; o < wanted.Length; o++)
        {
            var whole = Read(Signature.Outputs[wanted[o]], values[o]);
            if (works.Count > 1 && (whole.Shape.Length == 0 || whole.Shape[0] != works.Sum(w => w.Rows)))
            {
                throw new NotSplittableException($"Output '{whole.Name}' has shape {Shapes.Text(whole.Shape)} for {works.Sum(w => w.Rows)} rows.");
            }

            var start = 0L;
            for (var w = 0; w < works.Count; w++)
            {
                var slot = Array.IndexOf(works[w].Outputs, wanted[o]);
                if (slot >= 0)
                {
                    results[w][slot] = works.Count == 1 ? whole : whole.Slice(start, works[w].Rows);
                }

                start += works[w].Rows;
            }
        }

        return results;
    }

    private static Tensor Read(TensorSpec spec, OrtValue value)
    {
        var info = value.GetTensorTypeAndShape();
        var shape = info.Shape;
        if (spec.DataType != DataType.Bytes)
        {
            // An empty tensor has no memory to point at.
            var raw = info.ElementCount == 0 ? [] : value.GetTensorMutableRawData().ToArray();
            return new(spec.Name, spec.DataType, shape, raw);
        }

        var bytes = new ArrayBufferWriter<byte>(256);
        for (var i = 0; i < info.ElementCount; i++)
        {
            var text = value.GetStringElementAsSpan(i);
            var span = bytes.GetSpan(Tensor.LengthPrefix + text.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)text.Length);
            text.CopyTo(span[Tensor.LengthPrefix..]);
            bytes.Advance(Tensor.LengthPrefix + text.Length);
        }

        return new(spec.Name, spec.DataType, shape, bytes.WrittenMemory);
    }
}

/// <summary>What an execution gave; those behind the wanted ones may be taken out before the others are freed.</summary>
internal sealed class RunOutputs(IReadOnlyList<OrtValue> values, int wanted) : IDisposable
{
    private int _owned = values.Count;

    public IReadOnlyList<OrtValue> Wanted { get; } = [.. values.Take(wanted)];

    public OrtValue[] TakeRest()
    {
        OrtValue[] rest = [.. values.Skip(wanted).Take(_owned - wanted)];
        _owned = wanted;
        return rest;
    }

    public void Dispose()
    {
        foreach (var value in values.Take(_owned))
        {
            value.Dispose();
        }

        _owned = 0;
    }
}

/// <summary>The rows of a merged execution cannot be told apart in its outputs; the works must run alone.</summary>
internal sealed class NotSplittableException(string message) : Exception(message);
