using Microsoft.EntityFrameworkCore.Query;

namespace DeepSeek.Preprocessing.Datasets;

internal static class DatasetChanges
{
    /// <summary>A new ETag and time of change: part of every change of the row.</summary>
    public static UpdateSettersBuilder<Dataset> Changed(this UpdateSettersBuilder<Dataset> row, TimeProvider clock)
    {
        var now = clock.GetUtcNow();
        return row.SetProperty(d => d.Version, d => d.Version + 1).SetProperty(d => d.UpdatedAt, now);
    }
}
