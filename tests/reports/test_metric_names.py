"""Every name of a metric has one description, and the page of all is up to date."""

import pathlib
import re

import numpy as np
from support.members import GATES, random_batch

from maspo_jax.objectives import metrics
from maspo_jax.objectives.surrogate import details, fit, surrogate
from maspo_jax.objectives.tokens import tokens_of
from maspo_jax.reports import metric_names
from maspo_jax.runs import legacy

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"


def of_all_gates():
    """The names of an update with every gate of the package."""
    batch, logprob = random_batch()
    tokens, names = tokens_of(logprob, -logprob, batch), set()
    for gate in GATES:
        gate = fit(gate, tokens, total=lambda number: number)
        _, value = surrogate(logprob, batch, gate)
        measured = metrics.measure(tokens, value, details(tokens, gate))
        names |= metrics.summarize(measured).keys()
    return names


def test_what_objectives_log_is_what_is_described():
    found = of_all_gates()
    described = metric_names.UPDATE | metric_names.OF_GATES | metric_names.RANGES
    learning = {"loss", "grad_norm", "update_norm", "update_ratio"}
    assert found | learning == described.keys()


def test_what_the_sampler_is_compared_by_is_described():
    found = metrics.rollout_correction(*np.zeros((2, 3, 4)), np.ones((3, 4), bool))
    assert found.keys() <= metric_names.STEP.keys()


def test_a_name_means_the_same_wherever_it_stands():
    for part in metric_names.SECTIONS.values():
        for name, (meaning, unit) in part.items():
            assert metric_names.DESCRIPTIONS[name] == (meaning, unit), name
            assert re.fullmatch(r"[a-z0-9_.]+(/[a-z0-9_.]+)*", name)
            assert meaning and unit


def test_the_page_is_up_to_date():
    """Else: python -m maspo_jax.reports.metric_names > docs/metrics.md."""
    assert PAGE.read_text() == metric_names.markdown()


def test_old_names_lead_to_described_ones():
    def real(name):  # the table also holds quantiles that no run had
        return not re.fullmatch(r"(\w+)/p(50|95|99|01|05)", name)

    new = [name for name in legacy.METRICS.values() if real(name)]
    assert {*new} <= metric_names.DESCRIPTIONS.keys() and len({*new}) == len(new)
    unchanged = metric_names.DESCRIPTIONS.keys() - {*legacy.METRICS.values()}
    assert not unchanged & legacy.METRICS.keys()


def test_other_names_belong_to_metrics_there_are():
    assert metric_names.ELSEWHERE.keys() <= metric_names.DESCRIPTIONS.keys()
