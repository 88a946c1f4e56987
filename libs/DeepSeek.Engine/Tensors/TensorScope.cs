using DeepSeek.Engine.Native;

namespace DeepSeek.Engine.Tensors;

/// <summary>
/// Frees, when disposed, every tensor that operators made on this thread since it was opened. Scopes nest and close in
/// reverse order. Their memory is reused, so opening one costs nothing after the first time.
/// </summary>
public readonly ref struct TensorScope
{
    private readonly Arena _arena;
    private readonly int _version;

    private TensorScope(Arena arena)
    {
        _arena = arena;
        _version = arena.Version;
    }

    [ThreadStatic] private static Arena? t_current;
    [ThreadStatic] private static Arena? t_spare;

    /// <summary>Tensors held by the scope now.</summary>
    public int Count => _arena.Count;

    /// <summary>Opens a scope inside the current one.</summary>
    public static TensorScope Open()
    {
        var arena = t_spare ?? new Arena();
        t_spare = arena.Next;
        arena.Next = t_current;
        t_current = arena;
        return new TensorScope(arena);
    }

    /// <summary>Moves a tensor made in this scope to the scope around it and returns it from there.</summary>
    public Tensor Return(Tensor tensor)
    {
        var outer = _arena.Next ?? throw new InvalidOperationException("There is no scope around this one; use Keep().");
        return outer.Add(_arena.Release(tensor));
    }

    /// <summary>Frees one of the scope's tensors before the scope closes, where memory is dear; what the graph needs of it stays.</summary>
    public void Free(Tensor tensor) => NativeMethods.Check(NativeMethods.ds_tensor_free(_arena.Release(tensor)));

    /// <summary>Frees the scope's tensors.</summary>
    public void Dispose()
    {
        if (t_current != _arena || _arena.Version != _version)
        {
            throw new InvalidOperationException("Tensor scopes close in reverse order of opening, once, on the thread that opened them.");
        }
        t_current = _arena.Next;
        _arena.Clear();
        _arena.Next = t_spare;
        t_spare = _arena;
    }

    /// <summary>Gives a new native tensor to the current scope.</summary>
    internal static Tensor Track(nint handle)
    {
        if (t_current is { } arena)
        {
            return arena.Add(handle);
        }
        NativeMethods.Check(NativeMethods.ds_tensor_free(handle));
        throw new InvalidOperationException("No tensor scope is open on this thread: put `using var scope = TensorScope.Open();` around the work.");
    }

    private sealed class Arena : ITensorOwner
    {
        private nint[] _handles = new nint[64];

        internal Arena? Next;
        internal int Version = 1;
        internal int Count;

        public nint Resolve(int index, int version)
        {
            var handle = version == Version ? _handles[index] : 0;
            return handle != 0 ? handle : throw new ObjectDisposedException(nameof(Tensor), "The scope that made this tensor has been closed; use Keep() or Return() to take it out.");
        }

        internal Tensor Add(nint handle)
        {
            if (Count == _handles.Length)
            {
                Array.Resize(ref _handles, 2 * Count);
            }
            _handles[Count] = handle;
            return new Tensor(this, Count++, Version);
        }

        internal nint Release(Tensor tensor)
        {
            var index = tensor.Owner == this ? tensor.Index : throw new ArgumentException("The tensor belongs to another scope.");
            var handle = Resolve(index, tensor.Version);
            _handles[index] = 0;
            return handle;
        }

        internal unsafe void Clear()
        {
            fixed (nint* handles = _handles)
            {
                NativeMethods.Check(NativeMethods.ds_tensor_free_many(handles, Count));
            }
            Array.Clear(_handles, 0, Count);
            Count = 0;
            Version++;
        }
    }
}
