namespace DeepSeek.Cli.Quickstart;

/// <summary>Waits until the gateway answers healthy; gives up silently, since the first real call tells better what is wrong.</summary>
internal static class Readiness
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(250);

    public static async Task WaitAsync(Uri gateway, CancellationToken patience)
    {
        using var http = new HttpClient { BaseAddress = gateway };
        while (!patience.IsCancellationRequested)
        {
            try
            {
                using var response = await http.GetAsync("/health", patience);
                if (response.IsSuccessStatusCode)
                {
                    return;
                }

                await Task.Delay(s_interval, patience);
            }
            catch (HttpRequestException)
            {
                await Task.Delay(s_interval, CancellationToken.None);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
