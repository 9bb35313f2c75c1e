"""Rewards from verifiable answers: extraction, equivalence, a service that ends."""

from maspo_jax.rewards.verdict import Verdict, rates
from maspo_jax.rewards.verifier import Verifier, grade, is_correct

__all__ = ["Verdict", "Verifier", "grade", "is_correct", "rates"]
