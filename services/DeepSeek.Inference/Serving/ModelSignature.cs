using DeepSeek.Inference.Protocol;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Serving;

/// <summary>A model's input or output; -1 is a size that may vary.</summary>
internal sealed record TensorSpec(string Name, DataType DataType, long[] Shape);

/// <summary>What a model takes and gives, and how a request is held against it.</summary>
internal sealed class ModelSignature(IReadOnlyList<TensorSpec> inputs, IReadOnlyList<TensorSpec> outputs)
{
    public IReadOnlyList<TensorSpec> Inputs { get; } = inputs;

    public IReadOnlyList<TensorSpec> Outputs { get; } = outputs;

    /// <summary>True when axis 0 of every input and output varies, so that requests can share an execution.</summary>
    public bool HasBatchAxis { get; } = inputs.Concat(outputs).All(t => t.Shape.Length > 0 && t.Shape[0] == -1);

    /// <param name="hidden">Outputs that are not for requests.</param>
    /// <exception cref="InvalidModelException">The model has something the protocol cannot carry.</exception>
    public static ModelSignature Of(InferenceSession session, IReadOnlyCollection<string> hidden)
    {
        return new(
            [.. session.InputNames.Select(name => Spec("input", name, session.InputMetadata[name]))],
            [.. session.OutputNames.Except(hidden).Select(name => Spec("output", name, session.OutputMetadata[name]))]);
    }

    /// <summary>Orders the request's tensors as the model's inputs and checks each against its specification.</summary>
    public InferenceWork Bind(InferRequest request)
    {
        foreach (var given in request.Inputs)
        {
            if (!Inputs.Any(i => i.Name == given.Name))
            {
                throw InferenceException.BadRequest(
                    $"The model has no input {JsonText.Shorten(given.Name)}; its inputs are {Names(Inputs)}.");
            }
        }

        var ordered = new Tensor[Inputs.Count];
        for (var i = 0; i < ordered.Length; i++)
        {
            ordered[i] = Match(Inputs[i], request.Inputs);
        }

        return new InferenceWork(ordered, Rows(ordered), Select(request.Outputs));
    }

    private long Rows(Tensor[] tensors)
    {
        if (!HasBatchAxis)
        {
            return 1;
        }

        var rows = tensors[0].Rows;
        foreach (var tensor in tensors)
        {
            if (tensor.Rows != rows)
            {
                throw InferenceException.BadRequest(
                    $"Inputs '{tensors[0].Name}' and '{tensor.Name}' have {rows} and {tensor.Rows} rows; all inputs of a request must have as many.");
            }
        }

        return rows > 0 ? rows : throw InferenceException.BadRequest("The request holds no rows: axis 0 of its inputs is 0.");
    }

    private int[] Select(IReadOnlyList<RequestedOutput>? requested)
    {
        if (requested is null || requested.Count == 0)
        {
            return [.. Enumerable.Range(0, Outputs.Count)];
        }

        return [.. requested.Select(r =>
        {
            for (var i = 0; i < Outputs.Count; i++)
            {
                if (Outputs[i].Name == r.Name)
                {
                    return i;
                }
            }

            throw InferenceException.BadRequest(
                $"The model has no output {JsonText.Shorten(r.Name)}; its outputs are {Names(Outputs)}.");
        })];
    }

    private static Tensor Match(TensorSpec spec, IReadOnlyList<Tensor> given)
    {
        Tensor? tensor = null;
        foreach (var candidate in given)
        {
            tensor = candidate.Name == spec.Name ? candidate : tensor;
        }

        if (tensor is null)
        {
            throw InferenceException.BadRequest(
                $"Input '{spec.Name}' is missing; it is {spec.DataType.Name()} {Shapes.Text(spec.Shape)}.");
        }

        if (tensor.DataType != spec.DataType)
        {
            throw InferenceException.BadRequest(
                $"Input '{spec.Name}' is sent as {tensor.DataType.Name()}; the model takes {spec.DataType.Name()}.");
        }

        var fits = tensor.Shape.Length == spec.Shape.Length;
        for (var axis = 0; fits && axis < spec.Shape.Length; axis++)
        {
            fits = spec.Shape[axis] == -1 || spec.Shape[axis] == tensor.Shape[axis];
        }

        return fits
            ? tensor
            : throw InferenceException.BadRequest(
                $"Input '{spec.Name}' has shape {Shapes.Text(tensor.Shape)}; the model takes {Shapes.Text(spec.Shape)} (-1 may vary).");
    }

    private static TensorSpec Spec(string kind, string name, NodeMetadata node)
    {
        if (node.OnnxValueType != OnnxValueType.ONNX_TYPE_TENSOR)
        {
            throw new InvalidModelException($"The model's {kind} '{name}' is no tensor ({node.OnnxValueType}); only tensors can be served.");
        }

        return DataTypes.TryFrom(node.ElementDataType, out var type)
            ? new(name, type, [.. node.Dimensions.Select(d => (long)d)])
            : throw new InvalidModelException($"The model's {kind} '{name}' has elements of type {node.ElementDataType}, which the protocol has no name for.");
    }

    private static string Names(IReadOnlyList<TensorSpec> specs) => string.Join(", ", specs.Select(s => $"'{s.Name}'"));
}
