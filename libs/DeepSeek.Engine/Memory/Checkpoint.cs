using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>A computation from tensors to tensors. Tensors of the pass that it uses besides its inputs would be gone when it is computed again.</summary>
public delegate void CheckpointBody(ReadOnlySpan<Tensor> inputs, Span<Tensor> outputs);

/// <summary>
/// A computation's second time in a form of its own. Each result is the sum of two addends of its shape, the second of which may be <c>default</c>:
/// only their gradients count, so that what made their values alone can be left out.
/// </summary>
/// <param name="inputs">As the first time.</param>
/// <param name="kept">What the first time kept.</param>
/// <param name="addends">Two for each result.</param>
public delegate void CheckpointAgain(ReadOnlySpan<Tensor> inputs, ReadOnlySpan<Tensor> kept, Span<Tensor> addends);

/// <summary>
/// Trades time for memory (Chen et al., arXiv 1604.06174): a computation keeps its inputs alone in the forward pass, and is computed
/// again when the backward pass comes to it. Random draws, autocast and buffers are as they were, so that gradients have the same
/// bits and dropout the same masks. Checkpoints nest. Hooks on values run in both computations (<see cref="IsRecomputing"/> tells
/// which), those on gradients once. Modules do it when <see cref="Nn.Module.Recomputes"/> is set.
/// </summary>
public static unsafe class Checkpoint
{
    [ThreadStatic] private static int t_repeating;
    [ThreadStatic] private static int t_dropping;
    private static readonly Lazy<TensorHandle> s_anchor = new(() => TensorHandle.Zeros(Dtype.Float32, 1).WithGrad());

    /// <summary>Whether this thread computes something for the second time; state such as running means has been updated by the first.</summary>
    public static bool IsRecomputing => t_repeating > 0;

    /// <summary>Whether this thread computes something unrecorded that will be computed again.</summary>
    public static bool IsDropping => t_dropping > 0;

    /// <summary>From one tensor to one tensor of its own.</summary>
    public static Tensor Run(Func<Tensor, Tensor> body, Tensor x)
    {
        Span<Tensor> outputs = [default];
        Run((inputs, results) => results[0] = body(inputs[0]), [x], outputs);
        return outputs[0];
    }

    /// <summary>
    /// From several inputs, which may be <c>default</c>, to several outputs: new tensors of floating point, which get a place in the
    /// caller's scope. Where nothing is recorded the body simply runs.
    /// </summary>
    /// <exception cref="CaptureException">The body draws random numbers in a step that is being captured.</exception>
    public static void Run(CheckpointBody body, ReadOnlySpan<Tensor> inputs, Span<Tensor> outputs)
    {
        Run(body, null, inputs, outputs, outputs.Length, 0);
    }

    /// <summary>
    /// Selective: the body also gives values that are cheap to keep and dear to compute, and the second time has a form that starts from them.
    /// </summary>
    /// <param name="body">Gives results, values beside them, and what is kept, in this order. Values beside results carry no gradient.</param>
    /// <param name="again">The second time; null for the body itself.</param>
    /// <param name="inputs">May be <c>default</c>.</param>
    /// <param name="outputs">Room for all that the body gives; what is kept may be <c>default</c>.</param>
    /// <param name="results">How many are results.</param>
    /// <param name="kept">How many of the last are kept; where nothing is recorded they are given all the same.</param>
    /// <exception cref="CaptureException">The body draws random numbers in a step that is being captured.</exception>
    public static void Run(CheckpointBody body, CheckpointAgain? again, ReadOnlySpan<Tensor> inputs, Span<Tensor> outputs, int results, int kept)
    {
        var modes = ThreadModes.Get();
        if (!modes.IsRecording)
        {
            body(inputs, outputs);
            return;
        }
        // A captured step cannot set its generator back; see RefuseRandom.
        var random = Recording.IsActive ? null : new RandomSnapshot(DeviceOf(inputs));
        using (var scope = TensorScope.Open())
        {
            modes.Apart(recording: false).Set();
            t_dropping++;
            try
            {
                body(inputs, outputs);
            }
            finally
            {
                t_dropping--;
                modes.Set();
            }
            foreach (ref var output in outputs)
            {
                output = output.IsNone ? default : scope.Return(output);
            }
        }
        var drew = random is not null && !random.Equals(new RandomSnapshot(DeviceOf(inputs)));
        Attach(new Segment(body, again, inputs, outputs[^kept..], modes, drew ? random : null), inputs, outputs[..results]);
    }

    /// <summary>
    /// The sum of two addends of its shape, in a second time that starts from its value: the addends' values are not read, their gradients are the sum's.
    /// </summary>
    public static Tensor KnownSum(Tensor value, Tensor first, Tensor second)
    {
        var sum = value.Detach();
        Callbacks.Attach(new Addition(first.Dtype, second.Dtype), [first.Handle, second.Handle], [sum.Handle]);
        return sum;
    }

    /// <summary>Until disposed, computations on this thread count as repeated.</summary>
    internal static Repetition Repeat() => new(1);

    /// <summary>Called before random numbers are drawn.</summary>
    internal static void RefuseRandom(string what)
    {
        if (t_dropping > 0 && Recording.IsActive)
        {
            throw new CaptureException($"{what} inside a checkpoint draws random numbers, which a captured step cannot draw again in its backward pass. Leave out the checkpoint, the random numbers or the capture.");
        }
    }

    private static Device DeviceOf(ReadOnlySpan<Tensor> inputs)
    {
        foreach (var input in inputs)
        {
            if (!input.IsNone)
            {
                return input.Device;
            }
        }
        return Device.Cpu;
    }

    private static void Attach(Segment segment, ReadOnlySpan<Tensor> inputs, Span<Tensor> outputs)
    {
        // Weights inside need the pass even where no input does: an anchor, whose gradient stays empty, brings it here.
        var sources = new nint[inputs.Length];
        for (var i = 0; i < inputs.Length; i++)
        {
            sources[i] = inputs[i].IsNone ? s_anchor.Value.Native : inputs[i].Handle;
        }
        sources = segment.NeedsAnchor ? [.. sources, s_anchor.Value.Native] : sources;
        var results = new nint[outputs.Length];
        for (var i = 0; i < outputs.Length; i++)
        {
            results[i] = outputs[i].Handle;
        }
        Callbacks.Attach(segment, sources, results);
    }

    internal readonly ref struct Repetition
    {
        private readonly int _depth;

        internal Repetition(int depth)
        {
            _depth = depth;
            t_repeating += depth;
        }

        public void Dispose() => t_repeating -= _depth;
    }

    private sealed class Addition(Dtype first, Dtype second) : IBackwardContext
    {
        public void Run(ReadOnlySpan<Tensor> gradients, Span<Tensor> inputGradients)
        {
            if (!gradients[0].IsNone)
            {
                (inputGradients[0], inputGradients[1]) = (gradients[0].To(first), gradients[0].To(second));
            }
        }

        public void Dispose()
        {
            // It holds nothing.
        }
    }

    /// <summary>One computation that was dropped.</summary>
    private sealed class Segment : IBackwardContext
    {
        private readonly CheckpointBody _body;
        private readonly CheckpointAgain? _again;
        private readonly TensorHandle?[] _inputs;
        private readonly TensorHandle?[] _kept;
        private readonly bool[] _wanted;
        private readonly ThreadModes _modes;
        private readonly RandomSnapshot? _random;

        internal Segment(CheckpointBody body, CheckpointAgain? again, ReadOnlySpan<Tensor> inputs, ReadOnlySpan<Tensor> kept, ThreadModes modes, RandomSnapshot? random)
        {
            (_body, _again, _modes, _random) = (body, again, modes, random);
            _kept = new TensorHandle?[kept.Length];
            for (var i = 0; i < kept.Length; i++)
            {
                _kept[i] = kept[i].IsNone ? null : kept[i].Keep();
            }
            _inputs = new TensorHandle?[inputs.Length];
            _wanted = new bool[inputs.Length];
            for (var i = 0; i < inputs.Length; i++)
            {
                _wanted[i] = !inputs[i].IsNone && inputs[i].RequiresGrad;
                _inputs[i] = inputs[i].IsNone ? null : inputs[i].Keep();
            }
        }

        internal bool NeedsAnchor => !_wanted.AsSpan().Contains(true);

        public void Run(ReadOnlySpan<Tensor> gradients, Span<Tensor> inputGradients)
        {
            var addends = _again is null ? 1 : 2;
            var outputs = new Tensor[addends * gradients.Length];
            var inputs = Compute(outputs);
            var (roots, given) = (new nint[outputs.Length], new nint[outputs.Length]);
            var count = 0;
            for (var i = 0; i < outputs.Length; i++)
            {
                if (!gradients[i / addends].IsNone && !outputs[i].IsNone && outputs[i].RequiresGrad)
                {
                    (roots[count], given[count++]) = (outputs[i].Handle, gradients[i / addends].Handle);
                }
            }
            fixed (nint* root = roots)
            fixed (nint* gradient = given)
            {
                NativeMethods.Check(NativeMethods.ds_autograd_backward_many(root, gradient, count, 0));
            }
            for (var i = 0; i < inputs.Length; i++)
            {
                inputGradients[i] = _wanted[i] ? inputs[i].Grad() : default;
            }
        }

        public void Dispose()
        {
            Array.ForEach(_inputs, i => i?.Dispose());
            Array.ForEach(_kept, k => k?.Dispose());
        }

        /// <summary>Runs the body as it ran before, this time recorded, from leaves of its own.</summary>
        private Tensor[] Compute(Span<Tensor> outputs)
        {
            var here = ThreadModes.Get();
            var random = _random is null ? null : new RandomSnapshot(DeviceOf([.. _inputs.Select(i => i?.Tensor ?? default)]));
            var inputs = new Tensor[_inputs.Length];
            using var repetition = Repeat();
            try
            {
                for (var i = 0; i < inputs.Length; i++)
                {
                    inputs[i] = _inputs[i]?.Tensor.Detach() ?? default;
                    if (_wanted[i])
                    {
                        NativeMethods.Check(NativeMethods.ds_autograd_set_requires_grad(inputs[i].Handle, 1));
                    }
                }
                _random?.Restore();
                _modes.Apart(recording: true).Set();
                using var scope = TensorScope.Open();
                if (_again is not null)
                {
                    _again(inputs, [.. _kept.Select(k => k?.Tensor ?? default)], outputs);
                }
                else
                {
                    _body(inputs, outputs);
                }
                foreach (ref var output in outputs)
                {
                    output = output.IsNone ? default : scope.Return(output);
                }
            }
            finally
            {
                here.Set();
                random?.Restore();
            }
            return inputs;
        }
    }
}
