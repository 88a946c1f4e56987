// Seeds, thread counts and determinism are settings of the whole process: tests run one after the other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
