namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>Philox4x32 (Salmon et al., SC 2011) written plainly, and the dropout mask that the kernels derive from it.</summary>
internal static class PhiloxReference
{
    internal static uint[] Block(ulong seed, ulong offset, ulong index, int rounds)
    {
        uint c0 = (uint)index, c1 = (uint)(index >> 32), c2 = (uint)offset, c3 = (uint)(offset >> 32), k0 = (uint)seed, k1 = (uint)(seed >> 32);
        for (var round = 0; round < rounds; round++)
        {
            ulong first = 0xD2511F53UL * c0, second = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(second >> 32) ^ c1 ^ k0, (uint)second, (uint)(first >> 32) ^ c3 ^ k1, (uint)first);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return [c0, c1, c2, c3];
    }

    /// <summary>Whether dropout keeps element (row, column).</summary>
    internal static bool Keeps(long seed, long offset, long row, long column, long columns, double p)
    {
        var element = row * ((columns + 7) / 8 * 8) + column;
        var word = Block((ulong)seed, (ulong)offset, (ulong)element / 8, 7)[element % 8 / 2];
        return (element % 2 == 0 ? word & 0xffff : word >> 16) >= (uint)Math.Floor(p * 65536 + 0.5);
    }

    /// <summary>What the kept elements are multiplied by.</summary>
    internal static double Scale(double p) => 65536 / (65536 - Math.Floor(p * 65536 + 0.5));
}
