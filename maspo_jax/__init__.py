"""Reinforcement learning with verifiable rewards for math reasoning, in JAX."""
