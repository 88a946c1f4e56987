using System.Text;

namespace DeepSeek.Scheduling.Jobs;

public static class StorableText
{
    public const int MaxLength = 16_384;

    /// <summary>PostgreSQL's text takes neither NUL nor half a surrogate pair, both of which a library's message may hold.</summary>
    public static string Storable(this string text)
    {
        if (text.Length > MaxLength)
        {
            text = text[..MaxLength] + "…";
        }
        return Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)).Replace('\0', '\uFFFD');
    }
}
