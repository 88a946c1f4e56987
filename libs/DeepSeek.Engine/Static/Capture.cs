using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine;

/// <summary>A step: from inputs, which keep their addresses, to one result such as the loss.</summary>
public delegate Tensor StaticStep(ReadOnlySpan<Tensor> inputs);

/// <summary>How a <see cref="Capture"/> runs its step.</summary>
public enum CaptureMode
{
    /// <summary>Step by step, as written: the first runs, and always on the CPU, where there is nothing to record.</summary>
    Eager = 0,
    /// <summary>As one recorded CUDA graph.</summary>
    Replay = 1,
}

/// <summary>
/// Makes a training or inference step static. Every <see cref="Run"/> is exactly one step: the first few run as written, then one
/// is recorded as a CUDA graph, and from there on each run copies its inputs into fixed buffers and replays the graph, which
/// costs the host one launch. Shapes and element types must stay those of the first run. On the CPU the step always runs as
/// written, with the same checks, so that what cannot be captured is found there too.
/// The step must clear the gradients it makes, take the learning rate from <see cref="Optim.Optimizer.LearningRate"/>, and read no values.
/// </summary>
public sealed class Capture : IDisposable
{
    private readonly Device _device;
    private readonly StaticStep _step;
    private readonly int _warmup;
    private readonly CudaStream? _stream;
    private readonly List<TensorHandle> _inputs = [];
    private Tensor[] _views = [];
    private CudaGraph? _graph;
    private TensorHandle? _output;
    private bool _checked;

    /// <summary>Takes the step; <paramref name="warmup"/> runs come before the recording (three let libraries choose their algorithms).</summary>
    public Capture(Device device, StaticStep step, int warmup = 3)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(warmup);
        (_device, _step, _warmup) = (device, step, warmup);
        _stream = device.IsCuda ? new CudaStream(device.Index) : null;
    }

    /// <summary>How the next run goes.</summary>
    public CaptureMode Mode => _graph is null ? CaptureMode.Eager : CaptureMode.Replay;

    /// <summary>Steps taken.</summary>
    public long Runs { get; private set; }

    /// <summary>The fixed input buffers, to be filled in place of passing tensors to copy from; empty before the first run.</summary>
    public IReadOnlyList<TensorHandle> Inputs => _inputs;

    /// <summary>One step. The result is valid until the next run.</summary>
    /// <exception cref="ArgumentException">An input has not the shape or type it had at first.</exception>
    /// <exception cref="CaptureException">The step does something that a recording cannot hold.</exception>
    public Tensor Run(params ReadOnlySpan<Tensor> inputs)
    {
        Take(inputs);
        if (_graph is null)
        {
            RunOnce();
        }
        _graph?.Replay();
        Runs++;
        return _output!.Tensor;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _graph?.Dispose();
        _output?.Dispose();
        _stream?.Dispose();
        _inputs.ForEach(i => i.Dispose());
    }

    // Runs the step as written, or records it in place of running it.
    private void RunOnce()
    {
        if (_stream is null)
        {
            Recording.IsActive = Runs >= _warmup && !_checked;
            try
            {
                Execute();
                _checked |= Recording.IsActive;
            }
            finally
            {
                Recording.IsActive = false;
            }
            return;
        }
        using var current = _stream.Enter();
        if (Runs < _warmup)
        {
            Execute();
            return;
        }
        Record();
    }

    private void Record()
    {
        _output?.Dispose();
        _output = null;
        _stream!.Synchronize();
        // What the first runs left in the allocator's cache cannot serve the graph's own pool.
        CudaDevice.EmptyCache();
        var graph = new CudaGraph();
        graph.Begin();
        Recording.IsActive = true;
        try
        {
            Execute();
            Recording.IsActive = false;
            graph.End();
            _graph = graph;
        }
        catch (Exception fault)
        {
            Recording.IsActive = false;
            graph.Abandon();
            graph.Dispose();
            throw fault as CaptureException ?? (fault is NativeException
                ? new CaptureException($"The step cannot be captured; the last operator was {OperatorCall.LastName}. Operators whose result's size depends on values, and copies from pageable host memory, wait for the device. {fault.Message}", fault)
                : fault);
        }
    }

    private void Execute()
    {
        using var scope = TensorScope.Open();
        var result = _step(_views);
        var kept = result.Keep();
        _output?.Dispose();
        _output = kept;
    }

    private void Take(ReadOnlySpan<Tensor> inputs)
    {
        if (Runs == 0 && _inputs.Count == 0)
        {
            using var scope = TensorScope.Open();
            foreach (var input in inputs)
            {
                _inputs.Add(input.To(_device).Detach().Keep());
            }
            // Own copies: a tensor already on the device is its caller's.
            for (var i = 0; i < inputs.Length; i++)
            {
                var copy = TensorHandle.ZerosLike(_inputs[i].Tensor, _inputs[i].Tensor.Dtype);
                _inputs[i].Dispose();
                _inputs[i] = copy;
            }
            _views = [.. _inputs.Select(i => i.Tensor)];
        }
        if (inputs.Length != _inputs.Count)
        {
            throw new ArgumentException($"The step was made static for {_inputs.Count} inputs; {inputs.Length} are given.", nameof(inputs));
        }
        for (var i = 0; i < inputs.Length; i++)
        {
            RequireSame(i, _views[i], inputs[i]);
            if (inputs[i].Handle != _views[i].Handle)
            {
                _views[i].CopyInPlace(inputs[i], nonBlocking: true);
            }
        }
    }

    private static unsafe void RequireSame(int index, Tensor kept, Tensor given)
    {
        var (a, b) = (kept.Info(), given.Info());
        var same = a.Rank == b.Rank && a.Dtype == b.Dtype && new ReadOnlySpan<long>(a.Sizes, a.Rank).SequenceEqual(new ReadOnlySpan<long>(b.Sizes, b.Rank));
        if (!same)
        {
            throw new ArgumentException($"Input {index} is {given.Dtype} [{string.Join(", ", given.Shape())}]; the step was made static for {kept.Dtype} [{string.Join(", ", kept.Shape())}]. Make another Capture for this shape, or pad the batch.");
        }
    }
}
