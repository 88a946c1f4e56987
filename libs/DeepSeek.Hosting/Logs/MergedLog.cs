using System.Text;
using System.Text.RegularExpressions;

namespace Aspire.Hosting;

/// <summary>One log of everything: each line begins with the name of who wrote it, in a colour of its own if a terminal reads it.</summary>
internal sealed partial class MergedLog(TextWriter output, bool enabled)
{
    private const int NameWidth = 15;
    private static readonly int[] Colours = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _colours = [];
    private readonly bool _coloured = !Console.IsOutputRedirected && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));

    public void Write(string name, string line)
    {
        if (!enabled)
        {
            return;
        }

        lock (_gate)
        {
            var text = new StringBuilder(line.Length + 40);
            if (_coloured)
            {
                text.Append("\e[").Append(ColourOf(name)).Append('m').Append(name.PadRight(NameWidth)).Append(" |\e[0m ").Append(line).Append("\e[0m");
            }
            else
            {
                text.Append(name.PadRight(NameWidth)).Append(" | ").Append(Escapes().Replace(line, string.Empty));
            }

            output.WriteLine(text.ToString());
        }
    }

    public static string WithoutEscapes(string line) => Escapes().Replace(line, string.Empty);

    private int ColourOf(string name)
    {
        if (!_colours.TryGetValue(name, out var colour))
        {
            _colours[name] = colour = Colours[_colours.Count % Colours.Length];
        }

        return colour;
    }

    [GeneratedRegex(@"\e\[[0-9;?]*[A-Za-z]")]
    private static partial Regex Escapes();
}
