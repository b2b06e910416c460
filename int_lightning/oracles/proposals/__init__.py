"""What an oracle wrote, read as an intervention: its tag, the JSON in it, the location and the content."""

from int_lightning.oracles.proposals.parse import NO_ERROR, Parsed, parse_proposal

__all__ = ["NO_ERROR", "Parsed", "parse_proposal"]
