using System.Security.Cryptography;

namespace Aspire.Hosting.ApplicationModel;

internal static class RandomPassword
{
    // Letters that are easily taken for digits (i, l, o) are left out; the special characters need no quoting in a shell's double quotes.
    private const string LowerCase = "abcdefghjkmnpqrstuvwxyz";
    private const string UpperCase = "ABCDEFGHJKMNPQRSTUVWXYZ";
    private const string Digits = "0123456789";
    private const string Specials = "-_.{}~()*+";

    public static string Generate(GenerateParameterDefault rules)
    {
        (bool Use, string Characters, int Least)[] kinds =
        [
            (rules.Lower, LowerCase, rules.MinLower),
            (rules.Upper, UpperCase, rules.MinUpper),
            (rules.Numeric, Digits, rules.MinNumeric),
            (rules.Special, Specials, rules.MinSpecial),
        ];
        var alphabet = string.Concat(kinds.Where(kind => kind.Use).Select(kind => kind.Characters));
        if (alphabet.Length == 0 || kinds.Any(kind => !kind.Use && kind.Least > 0))
        {
            throw new ArgumentException("A generated value needs at least one kind of character, and no least number of a kind that is switched off.", nameof(rules));
        }

        var characters = kinds.SelectMany(kind => Pick(kind.Characters, kind.Least)).ToList();
        characters.AddRange(Pick(alphabet, Math.Max(0, rules.MinLength - characters.Count)));
        var password = characters.ToArray();
        RandomNumberGenerator.Shuffle(password.AsSpan());
        return new string(password);
    }

    private static char[] Pick(string characters, int count) => count == 0 ? [] : RandomNumberGenerator.GetItems<char>(characters, count);
}
