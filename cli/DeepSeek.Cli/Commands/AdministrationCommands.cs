using System.CommandLine;
using System.Text.Json;
using DeepSeek.Cli.Output;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek audit …</c> and <c>deepseek keys …</c></summary>
internal static class AdministrationCommands
{
    public static void AddTo(Command root)
    {
        var verify = new Command("verify", "Check the audit log's chain of hashes; exit code 1 when it is broken.");
        verify.Runs(async context =>
        {
            var outcome = await context.Client.Audit.VerifyAsync(context.Cancelled);
            context.Print.Item(outcome, ("valid", outcome.Valid), ("entries", outcome.Entries), ("first broken", outcome.FirstBroken));
            if (!outcome.Valid)
            {
                throw new CommandFailedException($"The audit log is broken at entry {outcome.FirstBroken?.Sequence}: {outcome.FirstBroken?.Reason}");
            }
        });
        var entries = new Command("list", "The audit log.");
        entries.Runs(context => context.Print.ListAsync(
            context.Client.Audit.ListAsync(context.Cancelled),
            ("sequence", e => Text(e, "sequence")), ("at", e => Text(e, "at")), ("actor", e => Text(e, "actor")), ("action", e => Text(e, "action")), ("subject", e => Text(e, "subject"))));
        root.Add(new Command("audit", "Who did what.") { entries, verify });

        var name = new Argument<string>("name") { Description = "Whose key it is." };
        var role = new Option<string>("--role") { Description = "reader, operator, approver or admin.", Required = true };
        var create = new Command("create", "Make a key; its secret is shown once.") { name, role };
        create.Runs(async context =>
        {
            var key = await context.Client.Keys.CreateAsync(context.Arguments.GetRequiredValue(name), context.Arguments.GetRequiredValue(role), context.Cancelled);
            context.Print.Item(key, ("id", key.Id), ("name", key.Name), ("role", key.Role), ("key", key.Key));
        });
        var list = new Command("list", "All keys, without their secrets.");
        list.Runs(context => context.Print.ListAsync(
            context.Client.Keys.ListAsync(context.Cancelled), ("id", k => k.Id), ("name", k => k.Name), ("role", k => k.Role), ("created", k => k.CreatedAt), ("revoked", k => k.RevokedAt)));
        var id = new Argument<Guid>("id") { Description = "Key id." };
        var revoke = new Command("revoke", "Revoke a key.") { id };
        revoke.Runs(async context =>
        {
            await context.Client.Keys.RevokeAsync(context.Arguments.GetValue(id), context.Cancelled);
            context.Print.Done("Revoked.");
        });
        root.Add(new Command("keys", "API keys.") { create, list, revoke });
    }

    private static string? Text(JsonElement entry, string member) => entry.TryGetProperty(member, out var value) ? value.ToString() : null;
}
