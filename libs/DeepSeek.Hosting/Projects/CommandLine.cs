using System.Text;

namespace Aspire.Hosting;

internal static class CommandLine
{
    /// <summary>Splits at white space outside double quotes.</summary>
    public static string[] Split(string line)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var quoted = false;
        var begun = false;
        foreach (var character in line)
        {
            if (character == '"')
            {
                quoted = !quoted;
                begun = true;
            }
            else if (char.IsWhiteSpace(character) && !quoted)
            {
                Flush();
            }
            else
            {
                word.Append(character);
                begun = true;
            }
        }

        Flush();
        return [.. words];

        void Flush()
        {
            if (begun)
            {
                words.Add(word.ToString());
                word.Clear();
                begun = false;
            }
        }
    }
}
