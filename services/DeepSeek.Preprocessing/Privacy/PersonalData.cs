using System.Text;
using System.Text.RegularExpressions;

namespace DeepSeek.Preprocessing.Privacy;

/// <summary>Recognises personal data by the name of a column and by the form of its values.</summary>
internal static partial class PersonalData
{
    /// <summary>Longer texts are searched piecewise in <see cref="RedactInside"/> only; a whole value is never this long.</summary>
    private const int LongestValue = 320;

    /// <summary>What a column of this name is likely to hold; the content decides whether it really can.</summary>
    public static PersonalKind? FromName(string column)
    {
        var words = Words().Replace(column, "$1 $2").ToLowerInvariant();
        words = " " + Separators().Replace(words, " ").Trim() + " ";
        foreach (var (kind, pattern) in Names)
        {
            if (pattern.IsMatch(words))
            {
                return kind;
            }
        }
        return null;
    }

    /// <summary>The kind of personal data a cell consists of.</summary>
    public static PersonalKind? OfValue(ReadOnlySpan<byte> cell)
    {
        if (cell.Length is < 7 or > LongestValue || !MayHold(cell))
        {
            return null;
        }
        Span<char> text = stackalloc char[LongestValue];
        var length = Encoding.UTF8.GetChars(cell, text);
        return OfValue(text[..length].Trim());
    }

    public static PersonalKind? OfValue(ReadOnlySpan<char> text)
    {
        var signs = Signs.Of(text);
        foreach (var (kind, needs, pattern, check) in Forms)
        {
            if (!needs(signs))
            {
                continue;
            }
            foreach (var match in pattern.EnumerateMatches(text))
            {
                if (match.Index == 0 && match.Length == text.Length && check(text))
                {
                    return kind;
                }
            }
        }
        return null;
    }

    /// <summary>Whether personal data stands anywhere in the text.</summary>
    public static bool IsInside(ReadOnlySpan<byte> cell) =>
        cell.Length >= 7 && MayHold(cell) && RedactInside(Encoding.UTF8.GetString(cell)) is not null;

    /// <summary>The text with each piece of personal data replaced by its placeholder; null when there is none.</summary>
    public static string? RedactInside(string text)
    {
        var result = text;
        var signs = Signs.Of(text);
        foreach (var (kind, needs, pattern, check) in Forms)
        {
            if (!needs(signs))
            {
                continue;
            }
            result = pattern.Replace(result, match => check(match.ValueSpan) ? kind.Placeholder() : match.Value);
        }
        return result == text ? null : result;
    }

    /// <summary>A quick no for most cells: personal data has an @, or six digits, or dots between digits.</summary>
    private static bool MayHold(ReadOnlySpan<byte> cell)
    {
        if (cell.Contains((byte)'@'))
        {
            return true;
        }
        int digits = 0, dots = 0;
        foreach (var b in cell)
        {
            digits += b is >= (byte)'0' and <= (byte)'9' ? 1 : 0;
            dots += b == '.' ? 1 : 0;
        }
        return digits >= 6 || (dots == 3 && digits >= 4);
    }

    private delegate bool Check(ReadOnlySpan<char> text);

    /// <summary>Cheap to know of a text, and enough to spare it most of the patterns.</summary>
    private readonly record struct Signs(int Digits, bool At, bool Letters, bool Breaks, int Dots)
    {
        public static Signs Of(ReadOnlySpan<char> text)
        {
            int digits = 0, dots = 0;
            bool at = false, letters = false, breaks = false;
            foreach (var c in text)
            {
                digits += char.IsAsciiDigit(c) ? 1 : 0;
                dots += c == '.' ? 1 : 0;
                at |= c == '@';
                letters |= char.IsAsciiLetter(c);
                breaks |= c is '+' or '-' or '/' or '(' or ' ';
            }
            return new Signs(digits, at, letters, breaks || dots > 0, dots);
        }
    }

    // In this order: a card number also looks like a phone number, an e-mail address may hold digits.
    private static readonly (PersonalKind Kind, Func<Signs, bool> Needs, Regex Pattern, Check Check)[] Forms =
    [
        (PersonalKind.Email, s => s.At, Email(), _ => true),
        (PersonalKind.Iban, s => s.Letters && s.Digits >= 10, Iban(), PersonalChecks.IsIban),
        (PersonalKind.Card, s => s.Digits >= 13, Card(), PersonalChecks.IsCard),
        (PersonalKind.NationalId, s => s.Breaks && s.Digits >= 9, SocialSecurity(), _ => true),
        (PersonalKind.NationalId, s => s.Letters && s.Digits >= 6, Nino(), _ => true),
        (PersonalKind.NationalId, s => s.Letters && s.Digits >= 7, SpanishId(), PersonalChecks.IsSpanishId),
        (PersonalKind.NationalId, s => s.Digits >= 17, ChineseId(), PersonalChecks.IsChineseId),
        (PersonalKind.NationalId, s => s.Digits >= 15, FrenchId(), PersonalChecks.IsFrenchId),
        (PersonalKind.IpAddress, s => s.Dots >= 3 && s.Digits >= 4, IpAddress(), _ => true),
        (PersonalKind.Phone, s => s.Breaks && s.Digits >= 7, Phone(), PersonalChecks.IsPhone),
    ];

    private static readonly (PersonalKind Kind, Regex Pattern)[] Names =
    [
        (PersonalKind.IpAddress, IpName()),
        (PersonalKind.Email, EmailName()),
        (PersonalKind.Phone, PhoneName()),
        (PersonalKind.NationalId, IdName()),
        (PersonalKind.Iban, IbanName()),
        (PersonalKind.Card, CardName()),
        (PersonalKind.BirthDate, BirthName()),
        (PersonalKind.PersonName, PersonName()),
        (PersonalKind.Address, AddressName()),
    ];

    [GeneratedRegex(@"(?<![A-Za-z0-9._%+-])[\p{L}0-9._%+'-]{1,64}@[\p{L}0-9-]{1,63}(?:\.[\p{L}0-9-]{1,63}){1,8}(?![\p{L}0-9-])")]
    private static partial Regex Email();

    [GeneratedRegex(@"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])")]
    private static partial Regex Iban();

    [GeneratedRegex(@"(?<![\d.+-])\d(?:[ -]?\d){12,18}(?![\d.]\d|\d)")]
    private static partial Regex Card();

    [GeneratedRegex(@"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")]
    private static partial Regex SocialSecurity();

    [GeneratedRegex(@"(?<![A-Za-z0-9])[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Za-z0-9])")]
    private static partial Regex Nino();

    [GeneratedRegex(@"(?<![A-Za-z0-9])[XYZ0-9]\d{7}[A-HJ-NP-TV-Z](?![A-Za-z0-9])")]
    private static partial Regex SpanishId();

    [GeneratedRegex(@"(?<![A-Za-z0-9])\d{17}[0-9Xx](?![A-Za-z0-9])")]
    private static partial Regex ChineseId();

    [GeneratedRegex(@"(?<![A-Za-z0-9])[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}(?![A-Za-z0-9])")]
    private static partial Regex FrenchId();

    [GeneratedRegex(@"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")]
    private static partial Regex IpAddress();

    [GeneratedRegex(@"(?<![\w.+-])(?:\+\d{8,15}|\+?(?:\d{1,4}[ .-]?)?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ ./-]\d{2,8}){1,5})(?![\w-]|\.\d)")]
    private static partial Regex Phone();

    [GeneratedRegex(@" ip (address|addr)? | ip(v4|v6| address)? ")]
    private static partial Regex IpName();

    [GeneratedRegex(@" (e mail|email|mail|mail address|email address) ")]
    private static partial Regex EmailName();

    [GeneratedRegex(@" (phone|telephone|tel|mobile|fax|msisdn)( number| no| nr)? ")]
    private static partial Regex PhoneName();

    [GeneratedRegex(@" (ssn|social security|national id|passport|tax id|nino|dni|nif|insee|steuer id|id card|driver s? ?licen[cs]e|identity number)")]
    private static partial Regex IdName();

    [GeneratedRegex(@" (iban|bank account|account number|account no) ")]
    private static partial Regex IbanName();

    [GeneratedRegex(@" (credit card|card number|card no|cc number|cc num|debit card) ")]
    private static partial Regex CardName();

    [GeneratedRegex(@" (dob|date of birth|birth date|birthdate|birthday) ")]
    private static partial Regex BirthName();

    [GeneratedRegex(@" (first|last|full|given|family|maiden|middle|patient|customer|client|person|employee) names? | (firstname|lastname|surname|fullname|forename) ")]
    private static partial Regex PersonName();

    [GeneratedRegex(@" (street|home address|postal address|street address|address|addr) ")]
    private static partial Regex AddressName();

    [GeneratedRegex(@"(\p{Ll})(\p{Lu})")]
    private static partial Regex Words();

    [GeneratedRegex(@"[^\p{L}\p{N}]+")]
    private static partial Regex Separators();
}
