namespace DeepSeek.Preprocessing.Datasets;

/// <summary>What a spec for language modelling may and may not say.</summary>
internal static class LanguageRules
{
    public const int LeastContext = 8;
    public const int MostContext = 32_768;

    /// <exception cref="DataFault">The first rule that is broken.</exception>
    public static void Check(DatasetSpec spec)
    {
        if (spec.Task != LearningTask.LanguageModeling)
        {
            if (spec.Text is not null)
            {
                throw new DataFault("text", "belongs to the task languageModeling; set that, or leave it out.");
            }
            return;
        }
        DatasetSpecRules.Range((spec.Text ?? new TextSpec()).Context, LeastContext, MostContext, "text.context");
        if (spec.Split.Method is SplitMethod.Stratified or SplitMethod.Time)
        {
            throw new DataFault("split.method", "documents are split whole: leave the method out, or use grouped with the column that tells which documents belong together.");
        }
        var target = DatasetSpecRules.TargetOf(spec)!;
        foreach (var (name, column) in spec.Columns)
        {
            var field = $"columns.{DataFault.Shown(name)}";
            if (name == target && column.Type is not (null or ColumnType.Text))
            {
                throw new DataFault(field + ".type", "this column holds the texts; leave the type out or use text.");
            }
            if (column.Role == ColumnRole.Feature)
            {
                throw new DataFault(field + ".role", "a language model learns from its texts alone; use ignore, or group to keep its documents together.");
            }
            if (column.Missing is not null || column.Scaling is not null)
            {
                throw new DataFault(field, "texts are not filled in or scaled; leave missing and scaling out.");
            }
        }
        foreach (var (name, method) in spec.Privacy.Columns)
        {
            if (name == target && method != MaskMethod.Keep)
            {
                throw new DataFault($"privacy.columns.{DataFault.Shown(name)}", "personal data inside texts is replaced piece by piece; leave it out, or use keep to leave the texts as they are.");
            }
        }
    }
}
