using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Compression.Compressions;

public sealed class JobEndedConsumer(CompressionDb db, TimeProvider clock)
    : SubjectEndedConsumer<CompressionDb, CompressionRecord>(db, clock, JobKinds.Compress);
