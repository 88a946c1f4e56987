namespace DeepSeek.Explainability.Models;

/// <summary>The one real number that is explained: a class's probability, or a regression's prediction.</summary>
public sealed record ModelOutput(string Tensor, int Column, string Name)
{
    /// <summary>Chooses the output: the named class, or by default the last class of two and the first of more, or the prediction.</summary>
    /// <exception cref="InvalidDataException">The model has no such class.</exception>
    public static ModelOutput Choose(ModelMetadata model, string? className)
    {
        if (!model.IsClassifier)
        {
            return className is null or "prediction"
                ? new ModelOutput("prediction", 0, "prediction")
                : throw new InvalidDataException($"output '{className}': a regression model has only the output 'prediction'.");
        }

        var index = className is null ? (model.Classes.Count == 2 ? 1 : 0) : IndexOf(model.Classes, className);
        return index >= 0
            ? new ModelOutput("probabilities", index, model.Classes[index])
            : throw new InvalidDataException($"output '{className}' is not one of the model's classes: {string.Join(", ", model.Classes)}.");
    }

    private static int IndexOf(IReadOnlyList<string> names, string name)
    {
        for (var i = 0; i < names.Count; i++)
        {
            if (names[i] == name)
            {
                return i;
            }
        }

        return -1;
    }
}
