using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

internal static class ModelLocks
{
    /// <summary>
    /// Holds the model's row to the end of the transaction. Registration, approval, alias moves and deletion all begin with it,
    /// so what one of them has checked stays true until it commits.
    /// </summary>
    public static async Task<Model> LockModelAsync(this RegistryDb db, string name, CancellationToken cancellationToken, bool alsoDeleted = false)
    {
        var found = await db.Models.FromSql($"select * from models where name = {name} for update").ToListAsync(cancellationToken);
        return found.SingleOrDefault(m => alsoDeleted || m.DeletedAt is null) ?? throw Problems.NotFound("model", Names.Shorten(name));
    }
}
