// Threads and the default generator belong to the whole process: tests run one after the other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
