using DeepSeek.Contracts.Inference;
using DeepSeek.Contracts.Registry;
using MassTransit;

namespace DeepSeek.Inference.Deployments;

/// <summary>Everything that may change what is served. Each replica has a queue of its own, which goes when it goes.</summary>
internal sealed class ServingChangesConsumer(ReconcileSignal signal) :
    IConsumer<DeploymentChanged>, IConsumer<AliasMoved>, IConsumer<ModelVersionRegistered>, IConsumer<ModelVersionDeleted>
{
    public Task Consume(ConsumeContext<DeploymentChanged> context) => Raise();

    public Task Consume(ConsumeContext<AliasMoved> context) => Raise();

    public Task Consume(ConsumeContext<ModelVersionRegistered> context) => Raise();

    public Task Consume(ConsumeContext<ModelVersionDeleted> context) => Raise();

    private Task Raise()
    {
        signal.Raise();
        return Task.CompletedTask;
    }
}
