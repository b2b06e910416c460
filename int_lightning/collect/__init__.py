"""From problems to D_InT: sample, filter hard, propose, check, keep everything."""
