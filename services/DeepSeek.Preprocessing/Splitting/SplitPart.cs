namespace DeepSeek.Preprocessing.Splitting;

internal enum SplitPart { Train, Validation, Test }
