"""From records to micro-batches, and the DataModules that feed a fit."""
