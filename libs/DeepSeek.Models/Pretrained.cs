using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Loads weights as torchvision, transformers and plain PyTorch save them with safetensors.</summary>
public static class Pretrained
{
    // Saved by Python, but counters that nothing reads or tables that follow from the sizes.
    private static readonly string[] s_derived = [".num_batches_tracked", ".attn.bias", ".attn.masked_bias", ".position_ids", ".inv_freq"];

    // A model's body is saved with or without the name that it has inside a model with a head.
    private static readonly string[] s_bodies = ["transformer.", "model.", "bert."];

    /// <summary>
    /// Fills a net from safetensors files (a model may come in several), converting element types and moving values to where the net is. Names
    /// match as they are, or with the prefix of a body (<c>transformer.</c>, <c>model.</c>, <c>bert.</c>) added or taken away. A head that shares the
    /// token table may be in the file or not.
    /// </summary>
    /// <param name="ignore">Further names to pass over, such as a head the net does not have.</param>
    /// <exception cref="InvalidDataException">A weight of the net is in no file, has another shape, or a file holds one that the net has not.</exception>
    public static void Load(Module net, IEnumerable<string> files, Func<string, bool>? ignore = null)
    {
        var missing = net.State().ToDictionary(t => t.Name, t => t.Tensor, StringComparer.Ordinal);
        var known = missing.ToDictionary(StringComparer.Ordinal);
        var unknown = new List<string>();
        foreach (var file in files)
        {
            using var stream = File.OpenRead(file);
            Safetensors.Visit(stream, (name, tensor) =>
            {
                if (Find(known, name) is not { } own)
                {
                    if (!IsPassedOver(net, name) && ignore?.Invoke(name) != true)
                    {
                        unknown.Add(name);
                    }
                    return;
                }
                Copy(own, tensor, known[own]);
                missing.Remove(own);
            });
        }
        // A dense model's file knows of no indexer: it keeps its initial weights and learns them in a warm-up.
        if (known.Keys.Where(IsIndexer).All(missing.ContainsKey))
        {
            Array.ForEach([.. missing.Keys.Where(IsIndexer)], name => missing.Remove(name));
        }
        if (unknown.Count > 0 || missing.Count > 0)
        {
            throw new InvalidDataException($"The files do not fit the net. Missing: {Some(missing.Keys)}. Unknown to the net: {Some(unknown)}.");
        }
    }

    private static bool IsIndexer(string name) => name.Contains(".indexer.", StringComparison.Ordinal);

    private static string? Find(Dictionary<string, TensorHandle> known, string name) => known.ContainsKey(name) ? name
        : s_bodies.Select(body => name.StartsWith(body, StringComparison.Ordinal) ? name[body.Length..] : body + name).FirstOrDefault(known.ContainsKey);

    private static bool IsPassedOver(Module net, string name) =>
        Array.Exists(s_derived, suffix => ("." + name).EndsWith(suffix, StringComparison.Ordinal)) || (name == "lm_head.weight" && net is Gpt or Llama { Config.Tied: true });

    private static void Copy(string name, TensorHandle from, TensorHandle to)
    {
        if (!from.Tensor.Shape().SequenceEqual(to.Tensor.Shape()))
        {
            throw new InvalidDataException($"Tensor '{name}' has shape [{string.Join(", ", from.Tensor.Shape())}] in the file and [{string.Join(", ", to.Tensor.Shape())}] in the net.");
        }
        using var unrecorded = NoGrad.Enter();
        to.Tensor.CopyInPlace(from.Tensor);
    }

    private static string Some(IReadOnlyCollection<string> names) =>
        names.Count == 0 ? "none" : string.Join(", ", names.Order(StringComparer.Ordinal).Take(5)) + (names.Count > 5 ? $" and {names.Count - 5} more" : "");
}
