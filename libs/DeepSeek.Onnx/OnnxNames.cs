namespace DeepSeek.Onnx;

internal static class OnnxNames
{
    /// <summary>The hint, with a number behind it where it is taken; taken from now on.</summary>
    public static string Take(HashSet<string> taken, string hint)
    {
        var name = hint;
        for (var i = 1; !taken.Add(name); i++)
            name = $"{hint}_{i}";
        return name;
    }
}
