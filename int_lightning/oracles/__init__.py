"""Who proposes interventions: the policy, a program, a model on a server, or a person."""
