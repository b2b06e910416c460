"""Collection: from problems to interventions."""
