"""Processes with a deadline and a memory limit, started without jax."""
