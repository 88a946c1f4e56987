namespace DeepSeek.Inference.Generation;

/// <summary>What to write.</summary>
internal sealed record GenerateRequest
{
    public const int MostTokens = 4096;

    /// <summary>Text to go on from; empty begins a document.</summary>
    public string Prompt { get; init; } = "";

    /// <summary>Tokens (bytes) at most, 1 to 4096.</summary>
    public int MaxTokens { get; init; } = 128;

    /// <summary>0 takes the most probable token each time; 1 draws as the model says; above 1 more evenly. 0 to 10.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Draws among so many most probable tokens; 0 among all. 0 to 1000.</summary>
    public int TopK { get; init; }

    /// <summary>Equal seeds give equal texts; drawn when left out.</summary>
    public long? Seed { get; init; }

    /// <summary>Sends the text as server-sent events while it is written.</summary>
    public bool Stream { get; init; }

    /// <summary>Faults by field; empty when there are none.</summary>
    public Dictionary<string, string[]> Faults()
    {
        var faults = new Dictionary<string, string[]>();
        void Require(bool holds, string field, string remedy)
        {
            if (!holds)
            {
                faults[field] = [remedy];
            }
        }

        Require(Prompt is not null, "prompt", "must be text.");
        Require(MaxTokens is >= 1 and <= MostTokens, "maxTokens", $"must be 1 to {MostTokens}.");
        Require(Temperature is >= 0 and <= 10, "temperature", "must be 0 to 10.");
        Require(TopK is >= 0 and <= 1000, "topK", "must be 0 (all) to 1000.");
        return faults;
    }
}

/// <summary>A part of a text that is sent while it is written; <see cref="GenerateReply"/> ends it, with what is not sent yet as its text.</summary>
/// <param name="Text">Whole characters.</param>
internal sealed record GenerateEvent(string Text);

/// <summary>What was written.</summary>
/// <param name="PredictionId">Names the model version, from which the lineage follows.</param>
/// <param name="Deployment">Asked.</param>
/// <param name="Model">Its model.</param>
/// <param name="Version">The version that wrote.</param>
/// <param name="Text">Without the prompt; bytes that form no character stand as U+FFFD.</param>
/// <param name="Tokens">Bytes written.</param>
/// <param name="FinishReason"><c>document</c>: the model ended the document; <c>length</c>: maxTokens were written.</param>
/// <param name="Seed">Repeats the text.</param>
internal sealed record GenerateReply(string PredictionId, string Deployment, string Model, int Version, string Text, int Tokens, string FinishReason, long Seed);
