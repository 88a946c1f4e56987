using System.Security.Cryptography;
using System.Text;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace DeepSeek.ServiceDefaults;

/// <summary>
/// Makes creation repeatable. A client that lost the reply repeats its request under the same <c>Idempotency-Key</c>; the row that the
/// first request made carries the request's key in a unique column <c>request_key</c>, and the repeat is answered with that row.
/// </summary>
public static class RequestKeys
{
    public const string Header = "Idempotency-Key";
    private const string Column = "request_key";

    /// <summary>One value for all repeats of a request: same principal, kind, key and content. Null when the client sent no key.</summary>
    public static string? RequestKey(this HttpContext http, string kind, string content)
    {
        var key = http.Request.Headers[Header].ToString();
        return key.Length == 0 ? null : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{http.User.Actor()}\n{kind}\n{key}\n{content}")));
    }

    /// <summary>Saves; false, with nothing saved, when a request with the same key was faster.</summary>
    public static async Task<bool> TrySaveNewAsync(this DbContext db, CancellationToken cancellationToken)
    {
        try
        {
            await db.SaveChangesAsync(cancellationToken);
            return true;
        }
        catch (DbUpdateException fault) when (fault.InnerException is PostgresException { SqlState: PostgresErrorCodes.UniqueViolation, ConstraintName: { } index }
            && index.EndsWith(Column, StringComparison.Ordinal))
        {
            return false;
        }
    }
}
