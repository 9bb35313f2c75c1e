"""Policies small enough to know everything about: exact returns and gradients."""
