namespace DeepSeek.Preprocessing.Columns;

/// <summary>Decoded rows, column by column; the arrays are used again for the next batch.</summary>
internal sealed class RowBatch
{
    public const int Capacity = 2048;

    public RowBatch(TablePlan plan)
    {
        Numbers = new double[plan.Columns.Count][];
        Texts = new string[plan.Columns.Count][];
        foreach (var column in plan.Features)
        {
            if (column.Type == Datasets.ColumnType.Categorical)
            {
                Texts[column.Index] = new string[Capacity];
            }
            else
            {
                Numbers[column.Index] = new double[Capacity];
            }
        }
    }

    public int Rows { get; set; }

    /// <summary>Number, from 0, of the first row in the table.</summary>
    public long FirstRow { get; set; }

    /// <summary>Numeric, boolean and date features by column index; NaN = missing.</summary>
    public double[][] Numbers { get; }

    /// <summary>Categorical features by column index; "" = missing.</summary>
    public string[][] Texts { get; }

    /// <summary>Class index; -1 for a row without label.</summary>
    public int[] Classes { get; } = new int[Capacity];

    /// <summary>Regression target; NaN for a row without label.</summary>
    public double[] Targets { get; } = new double[Capacity];
    public ulong[] Groups { get; } = new ulong[Capacity];
    public double[] Times { get; } = new double[Capacity];

    public bool Labelled(int row) => Classes[row] >= 0 && !double.IsNaN(Targets[row]);
}
