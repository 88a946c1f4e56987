using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Instruction sets that the CPU kernels are compiled for, in rising order.</summary>
internal enum InstructionSet
{
    Portable = 0,
    Avx2 = 1,
    Avx512 = 2,
}

/// <summary>Settings of the CPU kernels for the whole process.</summary>
internal static class CpuKernels
{
    private static readonly Operator s_limit = new("deepseek::cpu_isa_");

    /// <summary>Limits the kernels to an instruction set (or the processor's best below it) and returns the former limit.</summary>
    internal static InstructionSet Limit(InstructionSet set) => (InstructionSet)OperatorCall.To(s_limit).Add((long)set).Integer();
}
