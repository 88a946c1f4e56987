using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private const string Attend = "deepseek::block_sparse_attention";
    private const string Score = "deepseek::block_scores";
    private const string Select = "deepseek::select_blocks";

    // Scores, choice and attention become one node when the attention comes; the steps before it only have to be what the node says.
    private void AddSparse()
    {
        _rules[Score] = Expressible;
        _rules[Select] = _ => { };
        One(Attend, BlockSparse);
    }

    private static void Expressible(TracedCall scores)
    {
        if (Number(scores, 11) is var newest and not 0)
        {
            throw new NotSupportedException(
                $"{nameof(SparsePolicy)}.{nameof(SparsePolicy.NewestPower)} is {newest}, which {BlockSparseNode.Domain}::{BlockSparseNode.OpType} cannot say; set it to 0 before the net is exported.");
        }
        if (Flag(scores, 12))
        {
            throw new NotSupportedException(
                $"{nameof(SparsePolicy)}.{nameof(SparsePolicy.CausalChoice)} is set, which {BlockSparseNode.Domain}::{BlockSparseNode.OpType} cannot say; clear it before the net is exported.");
        }
    }

    private string BlockSparse(TracedCall call)
    {
        var choice = Value(call, 3).Producer is { Name: Select } select ? select : throw Unlike("its lists come from elsewhere");
        var scores = Value(choice, 0).Producer is { Name: Score } score ? score : throw Unlike("its blocks are chosen by other scores than the estimate's, such as those of a learned gate");
        if (Blocks(choice, 3) != Blocks(call, 5) || Blocks(scores, 2) != Blocks(call, 5) || Value(scores, 0) != Value(call, 0) || Value(scores, 1) != Value(call, 1)
            || Has(call, 8) != Has(scores, 5) || (Has(call, 8) && Number(call, 8) != Number(scores, 5)) || LengthsAt(choice, 13) != LengthsAt(call, 10) || LengthsAt(scores, 10) != LengthsAt(call, 10)
            || LengthsAt(choice, 12) != LengthsAt(call, 9) || LengthsAt(scores, 9) != LengthsAt(call, 9) || Value(call, 4).Producer != choice)
        {
            throw Unlike("its estimate, choice and attention differ in blocks, scale, lengths or tensors");
        }
        string[] inputs = [In(call, 0), In(call, 1), In(call, 2), Lengths(call)];
        return _graph.FunctionNode(BlockSparseNode.DenseFunction, BlockSparseNode.OpType, BlockSparseNode.Domain, BlockSparseNode.Version, inputs,
            OnnxAttribute.Of("causal", Flag(call, 7) ? 1 : 0),
            OnnxAttribute.Of("scale", (float)(Has(call, 8) ? Number(call, 8) : 1 / Math.Sqrt(Value(call, 0).Sizes[3]))),
            OnnxAttribute.Of("block_q", Int(call, 5)),
            OnnxAttribute.Of("block_k", Int(call, 6)),
            OnnxAttribute.Of("density", AtMost(Number(choice, 6))),
            OnnxAttribute.Of("mass", (float)Number(choice, 7)),
            OnnxAttribute.Of("sink", Int(choice, 8)),
            OnnxAttribute.Of("window", Int(choice, 9)),
            OnnxAttribute.Of("minimum", Int(choice, 10)),
            OnnxAttribute.Of("shared_budget", Flag(choice, 11) ? 1 : 0),
            OnnxAttribute.Of("stride", Int(scores, 6)),
            OnnxAttribute.Of("estimate", Int(scores, 7)),
            OnnxAttribute.Of("power", double.IsPositiveInfinity(Number(scores, 8)) ? 0f : (float)Number(scores, 8)));
    }

    // Of the node all sequences end where their keys do; attention to keys of a length by queries that all exist it cannot say.
    private string Lengths(TracedCall call)
    {
        if (LengthsAt(call, 10) is not { } lengths)
        {
            return Has(call, 9) ? throw Unlike("it has lengths of queries, but none of keys")
                : _keyLengths?.Invoke() ?? _graph.Node("Expand", [Size(In(call, 1), 2), Size(In(call, 0), 0)]);
        }
        if (LengthsAt(call, 9) != lengths || !SizeOf(0, 2).SameAs(SizeOf(1, 2)))
        {
            throw Unlike("its queries and keys have different lengths");
        }
        return _graph.Node("Cast", [Name(lengths)], OnnxAttribute.Of("to", (long)OnnxType.Int64));
    }

    private string Size(string value, int axis) => _graph.Node("Shape", [value], OnnxAttribute.Of("start", axis), OnnxAttribute.Of("end", axis + 1));

    private static (long Queries, long Keys, bool Causal) Blocks(TracedCall call, int index) => (Int(call, index), Int(call, index + 1), Flag(call, index + 2));

    private static TracedValue? LengthsAt(TracedCall call, int index) => Has(call, index) ? Value(call, index) : null;

    // Never more than the share: a tenth of ten blocks is one, and would be two by the float32 above a tenth.
    private static float AtMost(double share) => (float)share > share ? MathF.BitDecrement((float)share) : (float)share;

    private static NotSupportedException Unlike(string why) => new($"Block-sparse attention is exported as made by {nameof(SparseAttention)}.{nameof(SparseAttention.Of)}: here {why}. Export the net with dense attention.");
}
