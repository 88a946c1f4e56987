using System.Numerics;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>Counts distinct 64-bit hashes: exactly up to a bound, then by HyperLogLog (Flajolet et al., 2007) with 2¹² registers, error 1.6 %.</summary>
internal sealed class DistinctCounter
{
    public const int ExactBound = 1 << 16;
    private const int Bits = 12;

    private HashSet<ulong>? _exact = [];
    private byte[]? _registers;

    public bool Exact => _exact is not null;

    public void Add(ulong hash)
    {
        if (_exact is not null)
        {
            if (_exact.Add(hash) && _exact.Count > ExactBound)
            {
                _registers = new byte[1 << Bits];
                foreach (var seen in _exact)
                {
                    Register(seen);
                }
                _exact = null;
            }
            return;
        }
        Register(hash);
    }

    public long Count
    {
        get
        {
            if (_exact is not null)
            {
                return _exact.Count;
            }
            double sum = 0;
            var zeros = 0;
            foreach (var register in _registers!)
            {
                sum += Math.ScaleB(1, -register);
                zeros += register == 0 ? 1 : 0;
            }
            const double M = 1 << Bits;
            var estimate = 0.7213 / (1 + (1.079 / M)) * M * M / sum;
            return (long)Math.Round(estimate <= 2.5 * M && zeros > 0 ? M * Math.Log(M / zeros) : estimate);
        }
    }

    private void Register(ulong hash)
    {
        var mixed = SeededRandom.Mix(hash);
        ref var register = ref _registers![mixed >> (64 - Bits)];
        register = Math.Max(register, (byte)(BitOperations.LeadingZeroCount((mixed << Bits) | 1) + 1));
    }
}
