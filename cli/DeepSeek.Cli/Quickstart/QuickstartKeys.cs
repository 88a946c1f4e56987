using DeepSeek.Client;

namespace DeepSeek.Cli.Quickstart;

/// <summary>
/// Two principals, for nobody approves their own model: an author who trains and deploys, and an approver. Their keys are made with the
/// administrator's at hand and revoked at the end.
/// </summary>
internal sealed class QuickstartKeys : IAsyncDisposable
{
    private readonly DeepSeekClient _administrator;
    private readonly List<Guid> _made = [];

    private QuickstartKeys(DeepSeekClient administrator) => _administrator = administrator;

    public DeepSeekClient Author { get; private set; } = null!;
    public DeepSeekClient Approver { get; private set; } = null!;

    public static async Task<QuickstartKeys> MakeAsync(DeepSeekClient administrator, Uri gateway, CancellationToken cancelled)
    {
        var keys = new QuickstartKeys(administrator);
        var suffix = Guid.NewGuid().ToString("N")[..8];
        keys.Author = await keys.ClientAsync(gateway, $"quickstart-author-{suffix}", "operator", cancelled);
        keys.Approver = await keys.ClientAsync(gateway, $"quickstart-approver-{suffix}", "approver", cancelled);
        return keys;
    }

    public async ValueTask DisposeAsync()
    {
        Author?.Dispose();
        Approver?.Dispose();
        foreach (var id in _made)
        {
            await _administrator.Keys.RevokeAsync(id);
        }
    }

    private async Task<DeepSeekClient> ClientAsync(Uri gateway, string name, string role, CancellationToken cancelled)
    {
        var key = await _administrator.Keys.CreateAsync(name, role, cancelled);
        _made.Add(key.Id);
        return new DeepSeekClient(gateway, key.Key);
    }
}
