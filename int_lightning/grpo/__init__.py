"""Reinforcement learning: groups of rollouts, their advantages, and the policy-gradient loss."""
