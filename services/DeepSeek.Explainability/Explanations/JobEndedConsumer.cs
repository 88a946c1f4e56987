using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Explainability.Explanations;

public sealed class JobEndedConsumer(ExplainabilityDb db, TimeProvider clock)
    : SubjectEndedConsumer<ExplainabilityDb, Explanation>(db, clock, JobKinds.Explain);
