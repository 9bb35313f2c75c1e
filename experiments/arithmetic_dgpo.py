"""DGPO on the task of `arithmetic.py`.

python -m maspo_jax.train experiments/arithmetic_dgpo.py
"""

import dataclasses

from arithmetic import experiment as base

from maspo_jax.config import Objective
from maspo_jax.objectives import gates

experiment = dataclasses.replace(base, objective=Objective(gates.Dgpo(n=1, m=2)))
