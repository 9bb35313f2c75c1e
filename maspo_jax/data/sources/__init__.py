"""Problems with answers that can be checked, and where they come from.

    file --containers--> rows --schemas, fields, chats, golds--> Problem

A *source* of problems has a length and gives a `Problem` for every index below it:
`ProblemFile` reads one from a file, `HubProblems` from the Hugging Face Hub, `Chains`
makes one on the spot, and the selections (`First`, `Sample`, `Distinct`, `Fitting`,
`Unseen`, `Mixture`) are made of other sources. Sources are frozen dataclasses: an
experiment holds them and writes them as JSON.
"""

from maspo_jax.data.sources.arithmetic import Chains
from maspo_jax.data.sources.file import ProblemFile
from maspo_jax.data.sources.hub import HubProblems
from maspo_jax.data.sources.problem import Problem, Source
from maspo_jax.data.sources.schemas import Columns
from maspo_jax.data.sources.selections import (
    Distinct,
    First,
    Fitting,
    Mixture,
    Sample,
    Unseen,
)

__all__ = [
    "Chains",
    "Columns",
    "Distinct",
    "First",
    "Fitting",
    "HubProblems",
    "Mixture",
    "Problem",
    "ProblemFile",
    "Sample",
    "Source",
    "Unseen",
]
