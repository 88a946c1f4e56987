using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using DeepSeek.Data;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Generation;

internal static class TextGenerator
{
    /// <summary>The bytes that a model writes behind a prompt; fewer than asked for when it ends the document.</summary>
    /// <exception cref="InferenceException">It is no language model, there is no room, or it cannot compute.</exception>
    public static async IAsyncEnumerable<byte> WriteAsync(
        LoadedVersion version, GenerateRequest request, long seed, CacheBudget budget, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var probabilities = version.Signature.Outputs.Select(o => o.Name).ToList().IndexOf(RowModel.ProbabilitiesOutput);
        if (version.Rows.Columns is not [{ Type: ColumnType.Text } column] || probabilities < 0 || version.Rows.Classes.Count != ByteTokens.Vocabulary)
        {
            throw InferenceException.BadRequest($"Model '{version.Model.Name}' is no language model, so it writes no text; ask it for predictions at /predict.");
        }

        var prompt = TextData.Tokens(Encoding.UTF8.GetBytes(request.Prompt), column.Context);
        using var text = GrowingText.Of(version, column, probabilities, prompt, request.MaxTokens, budget);
        var sampler = new TokenSampler(request.Temperature, request.TopK, seed);
        for (var written = 0; written < request.MaxTokens; written++)
        {
            var token = Draw(sampler, await text.NextAsync(cancellationToken));
            if (token == ByteTokens.Separator)
            {
                yield break;
            }

            text.Add(token);
            yield return (byte)token;
        }
    }

    private static int Draw(TokenSampler sampler, Tensor output)
    {
        var probabilities = MemoryMarshal.Cast<byte, float>(output.Data.Span);
        return probabilities.ContainsAnyExceptInRange(0f, 1f)
            ? throw new InferenceException(StatusCodes.Status500InternalServerError, "The model gives no finite probabilities.")
            : sampler.Next(probabilities);
    }
}
