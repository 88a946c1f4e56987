namespace DeepSeek.Preprocessing.Privacy;

/// <summary>Check digits and shapes that tell personal numbers from others.</summary>
internal static class PersonalChecks
{
    /// <summary>13 to 19 digits with the prefix of a card network and a right check digit (Luhn, US patent 2 950 048).</summary>
    public static bool IsCard(ReadOnlySpan<char> text)
    {
        Span<char> digits = stackalloc char[19];
        var count = Digits(text, digits);
        if (count is < 13 or > 19)
        {
            return false;
        }
        var two = ((digits[0] - '0') * 10) + digits[1] - '0';
        var four = (two * 100) + ((digits[2] - '0') * 10) + digits[3] - '0';
        var network = digits[0] == '4' || two is >= 51 and <= 55 or 34 or 37 or 35 or 36 or 38 or 30 or 62 or 65 or 64
            || four is >= 2221 and <= 2720 or 6011;
        return network && Luhn(digits[..count]);
    }

    public static bool Luhn(ReadOnlySpan<char> digits)
    {
        var sum = 0;
        for (var i = 0; i < digits.Length; i++)
        {
            var digit = digits[digits.Length - 1 - i] - '0';
            digit = i % 2 == 0 ? digit : digit > 4 ? (digit * 2) - 9 : digit * 2;
            sum += digit;
        }
        return sum % 10 == 0;
    }

    /// <summary>ISO 13616: moved, letters as two digits, the number is 1 modulo 97.</summary>
    public static bool IsIban(ReadOnlySpan<char> text)
    {
        Span<char> compact = stackalloc char[34];
        var length = 0;
        foreach (var c in text)
        {
            if (c is ' ' or '-')
            {
                continue;
            }
            if (length == compact.Length || !char.IsAsciiLetterOrDigit(c))
            {
                return false;
            }
            compact[length++] = char.ToUpperInvariant(c);
        }
        if (length < 15)
        {
            return false;
        }
        var remainder = 0;
        for (var i = 0; i < length; i++)
        {
            var c = compact[(i + 4) % length];
            remainder = char.IsAsciiDigit(c) ? ((remainder * 10) + c - '0') % 97 : ((remainder * 100) + c - 'A' + 10) % 97;
        }
        return remainder == 1;
    }

    /// <summary>Spanish DNI and NIE: the letter is the number modulo 23.</summary>
    public static bool IsSpanishId(ReadOnlySpan<char> text)
    {
        if (text.Length != 9)
        {
            return false;
        }
        var number = text[0] switch { 'X' => 0, 'Y' => 1, 'Z' => 2, var c => c - '0' };
        foreach (var c in text[1..8])
        {
            number = (number * 10) + c - '0';
        }
        return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == text[8];
    }

    /// <summary>Chinese resident identity number, GB 11643: a date inside and a check digit modulo 11.</summary>
    public static bool IsChineseId(ReadOnlySpan<char> text)
    {
        ReadOnlySpan<byte> weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
        if (text.Length != 18 || int.Parse(text.Slice(6, 4)) is < 1900 or > 2100 || int.Parse(text.Slice(10, 2)) is < 1 or > 12)
        {
            return false;
        }
        var sum = 0;
        for (var i = 0; i < weights.Length; i++)
        {
            sum += weights[i] * (text[i] - '0');
        }
        return "10X98765432"[sum % 11] == char.ToUpperInvariant(text[17]);
    }

    /// <summary>French INSEE number: 13 digits and a key of 97 less their remainder.</summary>
    public static bool IsFrenchId(ReadOnlySpan<char> text)
    {
        Span<char> digits = stackalloc char[16];
        return Digits(text, digits) == 15
            && 97 - (long.Parse(digits[..13]) % 97) == long.Parse(digits[13..15]);
    }

    /// <summary>
    /// 7 to 15 digits in a form people write phone numbers in: with +, with a bracketed prefix, in three or more groups, or 555-1234.
    /// Dates and numbers with spaces between thousands are none.
    /// </summary>
    public static bool IsPhone(ReadOnlySpan<char> text)
    {
        Span<char> digits = stackalloc char[16];
        if (Digits(text, digits) is < 7 or > 15)
        {
            return false;
        }
        if (text[0] == '+' || text.Contains('('))
        {
            // +12.3456789 is a number with a sign.
            return text.Count('.') != 1 || text.IndexOfAny(' ', '-', '(') >= 0;
        }
        var groups = 1;
        var thousands = true;
        var length = 0;
        foreach (var c in text)
        {
            if (char.IsAsciiDigit(c))
            {
                length++;
                continue;
            }
            thousands &= c == ' ' && (groups == 1 || length == 3);
            groups++;
            length = 0;
        }
        if (groups == 2)
        {
            return text.Length == 8 && text[3] == '-';
        }
        return groups >= 3 && !(thousands && length == 3) && !IsDate(text);
    }

    private static bool IsDate(ReadOnlySpan<char> text)
    {
        Span<byte> ascii = stackalloc byte[text.Length];
        System.Text.Encoding.ASCII.GetBytes(text, ascii);
        var first = ascii.IndexOf((byte)' ');
        return Columns.DateForms.Match(first > 0 ? ascii[..first] : ascii) != Columns.DateForm.None;
    }

    /// <summary>Copies the digits of the text; returns how many there are, or one more than fit.</summary>
    private static int Digits(ReadOnlySpan<char> text, Span<char> digits)
    {
        var count = 0;
        foreach (var c in text)
        {
            if (!char.IsAsciiDigit(c))
            {
                continue;
            }
            if (count == digits.Length)
            {
                return count + 1;
            }
            digits[count++] = c;
        }
        return count;
    }
}
