namespace DeepSeek.Testing;

/// <summary>Moves the deadlines in Scheduling's database: no test waits for a lease to run out, and none is too slow to keep one.</summary>
public static class LeaseTime
{
    /// <summary>Lets the open offer or the lease of this job be over now. Each row by itself: Scheduling takes the two in another order, and would wait for us as we for it.</summary>
    public static async Task RunOutAsync(this TestDatabase scheduling, Guid job)
    {
        await scheduling.ScalarAsync<object>("update planning set no_expiry_before = 'epoch'");
        await scheduling.ScalarAsync<object>($"update jobs set lease_until = now() where id = '{job}' and lease_until is not null");
    }

    /// <summary>While Scheduling is down: makes it an hour in which nobody could plan or send heartbeats.</summary>
    public static Task MakeItAnHourAsync(this TestDatabase scheduling) => scheduling.ScalarAsync<object>("""
        update planning set planned_at = now() - interval '1 hour', no_expiry_before = 'epoch';
        update jobs set lease_until = lease_until - interval '1 hour'
        """);
}
