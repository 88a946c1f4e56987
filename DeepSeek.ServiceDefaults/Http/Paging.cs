using System.Buffers.Text;
using System.Globalization;
using System.Linq.Expressions;
using System.Text;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults;

/// <summary>One page of a list; <see cref="Next"/> is the cursor of the following page, null on the last.</summary>
public sealed record Page<T>(IReadOnlyList<T> Items, string? Next);

/// <summary>Query parameters of a list: <c>[AsParameters] PageRequest page</c>.</summary>
public sealed record PageRequest(int? Limit, string? Cursor)
{
    public const int DefaultLimit = 50;
    public const int MaxLimit = 200;

    /// <summary>Items per page: 1 to 200, default 50.</summary>
    public int Size => Limit switch
    {
        null => DefaultLimit,
        >= 1 and <= MaxLimit => Limit.Value,
        _ => throw Problems.Invalid("limit", $"must lie between 1 and {MaxLimit}."),
    };
}

/// <summary>A cursor is the key of the last item seen, opaque to clients.</summary>
public static class Cursors
{
    public static string Encode<TKey>(TKey key) where TKey : IFormattable =>
        Encode(key.ToString(null, CultureInfo.InvariantCulture));

    public static string Encode(string key) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(key));

    public static string Decode(string cursor) => Base64Url.IsValid(cursor)
        ? Encoding.UTF8.GetString(Base64Url.DecodeFromChars(cursor))
        : throw Bad();

    public static TKey Decode<TKey>(string cursor) where TKey : IParsable<TKey> =>
        TKey.TryParse(Decode(cursor), CultureInfo.InvariantCulture, out var key) ? key : throw Bad();

    private static ApiProblem Bad() => Problems.Invalid("cursor", "is not a cursor that this list returned; start again without it.");
}

public static class Paging
{
    /// <summary>
    /// One page ordered by a unique key: ids of version 7 and sequences are in order of creation, so descending means newest first.
    /// </summary>
    public static Task<Page<TItem>> ToPageAsync<TEntity, TKey, TItem>(
        this IQueryable<TEntity> source, Expression<Func<TEntity, TKey>> key, PageRequest request,
        Func<TEntity, TItem> map, CancellationToken cancellationToken, bool descending = true)
        where TKey : IParsable<TKey> =>
        source.ToPageAsync(key, request, row => row, row => key.Compile()(row), map, cancellationToken, descending);

    /// <summary>The same, reading of each entity only what <paramref name="selector"/> takes: for entities with large columns.</summary>
    public static async Task<Page<TItem>> ToPageAsync<TEntity, TKey, TRow, TItem>(
        this IQueryable<TEntity> source, Expression<Func<TEntity, TKey>> key, PageRequest request, Expression<Func<TEntity, TRow>> selector,
        Func<TRow, TKey> rowKey, Func<TRow, TItem> map, CancellationToken cancellationToken, bool descending = true)
        where TKey : IParsable<TKey>
    {
        if (request.Cursor is { Length: > 0 } cursor)
        {
            source = source.Where(After(key, Cursors.Decode<TKey>(cursor), descending));
        }

        var size = request.Size;
        var ordered = descending ? source.OrderByDescending(key) : source.OrderBy(key);
        var rows = await ordered.Take(size + 1).Select(selector).ToListAsync(cancellationToken);
        var next = rows.Count > size
            ? Cursors.Encode(Convert.ToString(rowKey(rows[size - 1]), CultureInfo.InvariantCulture)!)
            : null;
        return new Page<TItem>(rows.Take(size).Select(map).ToList(), next);
    }

    private static Expression<Func<TEntity, bool>> After<TEntity, TKey>(Expression<Func<TEntity, TKey>> key, TKey last, bool descending)
    {
        // A closure's field becomes a query parameter; a constant would make a new plan per cursor.
        Expression<Func<TKey>> holder = () => last;
        var (left, right) = (key.Body, holder.Body);
        if (typeof(TKey) == typeof(string))
        {
            left = Expression.Call(typeof(string), nameof(string.Compare), null, left, right);
            right = Expression.Constant(0);
        }

        var comparison = descending ? Expression.LessThan(left, right) : Expression.GreaterThan(left, right);
        return Expression.Lambda<Func<TEntity, bool>>(comparison, key.Parameters);
    }
}
