"""Faults of how the checker is wired; what it says of answers has tests of its own."""

from support.faults import Fault

GRADING, DECLARATION = "rollout/test_grading.py", "rewards/test_declaration.py"
VERIFIER = "rewards/test_verifier.py"
FAULTS = [
    Fault(
        "a grader in process is given the reasoning, too",
        "rewards/declaration.py",
        "text = response if steps else strip_reasoning(response)",
        "text = response",
        (f"{GRADING}::test_a_response_is_graded_whole_but_for_its_reasoning",),
    ),
    Fault(
        "a reward that is not whole is full marks",
        "rewards/declaration.py",
        'outcome = "correct" if reward >= 1 - ROUNDING else "wrong"',
        'outcome = "correct" if reward > 0 else "wrong"',
        (DECLARATION,),
    ),
    Fault(
        "an exception of a grader ends the run",
        "rewards/declaration.py",
        "except Exception as fault:  # one response must not end a run: it is counted",
        "except ValueError as fault:",
        (DECLARATION,),
    ),
    Fault(
        "the tolerance of a grader is lost on the way to the workers",
        "rollout/grading.py",
        "return Verifier(settings.workers, settings.deadline, memory, amend)",
        "return Verifier(settings.workers, settings.deadline, memory)",
        (f"{GRADING}::test_a_tolerance_leaves_the_deadline_of_the_experiment",),
    ),
    Fault(
        "the deadline of an experiment is not that of its checks",
        "rollout/grading.py",
        "Verifier(settings.workers, settings.deadline, memory, amend)",
        "Verifier(settings.workers, memory=memory, amend=amend)",
        (f"{GRADING}::test_a_tolerance_leaves_the_deadline_of_the_experiment",),
    ),
    Fault(
        "reference and answer are swapped on the way to a worker",
        "rewards/verifier.py",
        "future = self._service.submit(gold, answer)",
        "future = self._service.submit(answer, gold)",
        (VERIFIER, "rewards/test_equivalence.py"),
    ),
    Fault(
        "a verdict is remembered for its reference alone",
        "rewards/verifier.py",
        "future = self._proved.get((gold, answer))",
        "future = next((f for (g, _), f in self._proved.items() if g == gold), None)",
        ("rewards/test_remembered.py",),
    ),
    Fault(
        "a timeout is remembered",
        "rewards/verifier.py",
        '_OF_THE_MOMENT = {"error", "timeout", "undecided"}',
        '_OF_THE_MOMENT = {"error", "undecided"}',
        (VERIFIER,),
    ),
    Fault(
        "what no worker could prove is right",
        "rewards/verifier.py",
        '"undecided": ("wrong", UNPROVED),',
        '"undecided": ("correct", "not proved unequal"),',
        (VERIFIER, "rewards/test_equivalence.py"),
    ),
    Fault(
        "the alarm rings again at every step",
        "rewards/verdict.py",
        "            self._rung.add(outcome)\n",
        "",
        (VERIFIER,),
    ),
    Fault(
        "an answer that was not read is wrong",
        "rewards/verifier.py",
        'if label in ("unparsed", "no answer"):',
        'if label == "no answer":',
        (VERIFIER,),
    ),
    Fault(
        "reasoning that is cut off is the answer",
        "rewards/extraction.py",
        'return AnswerText("" if inside else "".join(kept) + response[begin:])',
        'return AnswerText("".join(kept) + response[begin:])',
        ("rewards/test_extraction.py",),
    ),
    Fault(
        "numbers of a Countdown task may be left out",
        "rewards/countdown.py",
        "if sorted(used) != sorted(numbers):",
        "if set(used) - set(numbers):",
        ("rewards/test_countdown.py",),
    ),
]
