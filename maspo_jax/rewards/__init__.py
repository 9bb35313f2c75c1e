r"""Rewards from verifiable answers: extraction, equivalence, a service that ends.

    response -> extraction -> tokens -> parser -> reading -> equivalence -> Verdict

Where what is done:

    extraction                                   what is reasoning, what the answer
    mathematics/language:
        tokens (lexicon, units)                  text -> tokens
        parser, latex_commands, literals         tokens -> tree of `expression`
    mathematics/algebra:
        values, normal, polynomials, functions,  two values, without a library
            balls
        precise, symbolic                        two values, in a worker
    mathematics/meaning:
        reading, regions                         tree -> one of `meanings`
        equivalence, equations                   two meanings: the ladder
    workers: service, zygote, proofs             processes, deadlines, proofs
    verifier, verdict                            who is asked what, and outcomes
    declaration                                  what a grader states of itself
    graders, countdown                           other graders
    audit                                        case files
    golds                                        what is made of a reference

The policy, in the order it is applied:

Extraction. Reasoning, between `<think>` and `</think>`, does not count, and where it
never closes there is no answer. The last complete box is the answer; without a box, the
last "the answer is", "Answer:", `####` or answer tag; nothing else. Empty and unclosed
boxes are no answer, and so is the last number of a text. Adjacent boxes are one list
where the reference is a list.

Values. Equality is of value, not of spelling. Exact against exact is exact; a decimal
written with a point stands for an irrational or repeating value if all its digits, at
least seven, are right. `50%` is 50 or 0.5; without a sign a factor of 100 is wrong.
Units may be left out; two known units must agree. A base must agree if both have one.

Collections. Lists and sets match one to one in any order, points and matrices in
order; `or`, `and` and plus-minus make lists, and a single value never matches a list of
several. Intervals, unions and inequalities in one variable are compared as sets.
Equations match up to moving terms and a nonzero factor; `x = 5` matches 5. Undefined
values match nothing. Words match without case, letters of choices without brackets.

What cannot be decided earns 0 and is counted: see `verdict.OUTCOMES`, and `Alarm`. An
identity that agrees at six points to sixty digits and more, beyond what its own numbers
call for, is accepted without a proof; its rule says so. A sum, product, integral or
limit counts as equal only with a proof. The whole policy, with its reasons and what was
measured, is in README.md beside this file.
"""

from maspo_jax.rewards.declaration import grader
from maspo_jax.rewards.verdict import Alarm, Verdict
from maspo_jax.rewards.verifier import Verifier, grade, is_correct

__all__ = ["Alarm", "Verdict", "Verifier", "grade", "grader", "is_correct"]
