using System.Collections.Concurrent;
using MassTransit;

namespace DeepSeek.Testing;

/// <summary>A peer on the bus: collects what is published and publishes what a service should receive.</summary>
public sealed class TestBus : IAsyncDisposable
{
    private readonly IBusControl _bus;
    private readonly ConcurrentDictionary<Type, ConcurrentQueue<object>> _received = new();

    private TestBus(IBusControl bus) => _bus = bus;

    public static async Task<TestBus> StartAsync(string connectionString)
    {
        var bus = Bus.Factory.CreateUsingRabbitMq(rabbit => rabbit.Host(new Uri(connectionString)));
        await bus.StartAsync(new CancellationTokenSource(Eventually.Deadline).Token);
        return new TestBus(bus);
    }

    /// <summary>Collects messages of this type from now on, through a queue of its own (or <paramref name="queue"/>, for commands).</summary>
    public async Task<TestBus> ListenAsync<T>(string? queue = null) where T : class
    {
        var messages = _received.GetOrAdd(typeof(T), _ => new());
        await _bus.ConnectReceiveEndpoint(queue ?? $"test-{typeof(T).Name}-{Guid.NewGuid():N}", endpoint =>
        {
            // One at a time: a test that has seen a message may say what came before it.
            endpoint.ConcurrentMessageLimit = 1;
            endpoint.Handler<T>(context =>
            {
                messages.Enqueue(new Envelope<T>(context.MessageId!.Value, context.Message, context.Headers.Get<string>("MT-Activity-Id")));
                return Task.CompletedTask;
            });
        }).Ready;
        return this;
    }

    /// <summary>What has come so far, in order of arrival.</summary>
    public IReadOnlyList<Envelope<T>> Received<T>() where T : class =>
        _received.TryGetValue(typeof(T), out var messages)
            ? messages.Cast<Envelope<T>>().ToList()
            : throw new InvalidOperationException($"Call ListenAsync<{typeof(T).Name}>() first.");

    /// <summary>Waits for a message; <see cref="ListenAsync"/> must have been called.</summary>
    public async Task<T> ReceiveAsync<T>(Func<T, bool>? condition = null, TimeSpan? deadline = null) where T : class =>
        await Eventually.NotNull(
            () => Task.FromResult(Received<T>().Select(envelope => envelope.Message).FirstOrDefault(condition ?? (_ => true))),
            deadline, $"{typeof(T).Name} received");

    public Task PublishAsync<T>(T message, Guid? messageId = null) where T : class =>
        _bus.Publish(message, context => context.MessageId = messageId ?? context.MessageId);

    public async Task SendAsync<T>(string queue, T message, Guid? messageId = null) where T : class =>
        await (await _bus.GetSendEndpoint(new Uri("queue:" + queue)))
            .Send(message, context => context.MessageId = messageId ?? context.MessageId);

    public async ValueTask DisposeAsync() => await _bus.StopAsync(TimeSpan.FromSeconds(5));
}

/// <summary>A message as it came over the bus.</summary>
public sealed record Envelope<T>(Guid MessageId, T Message, string? TraceParent) where T : class;
