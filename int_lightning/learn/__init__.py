"""What every fit shares: the policy, an optimiser step of micro-batches, checkpoints and the engine beside it."""
