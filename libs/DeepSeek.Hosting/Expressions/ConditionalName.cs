using System.IO.Hashing;
using System.Text;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>Name of a conditional expression in the manifest: its condition in lower-case words and a hash of all its parts.</summary>
internal static class ConditionalName
{
    public static string Of(IValueProvider condition, string matchValue, ReferenceExpression whenTrue, ReferenceExpression whenFalse)
    {
        var expression = (condition as IManifestExpressionProvider)?.ValueExpression;
        var words = Words(expression ?? string.Empty);
        var hash = XxHash32.Hash(Encoding.UTF8.GetBytes(
            (expression ?? condition.GetType().Name) + whenTrue.ValueExpression + whenFalse.ValueExpression + matchValue));
        return $"cond-{(words.Length > 0 ? words : "expr")}-{Convert.ToHexStringLower(hash)}";
    }

    private static string Words(string expression) => string.Join('-', new string([.. expression.Select(c => char.IsLetterOrDigit(c) ? char.ToLowerInvariant(c) : ' ')])
        .Split(' ', StringSplitOptions.RemoveEmptyEntries));
}
