"""What is read from compilers: collectives of a program, and a refusal."""

import jax
import jax.numpy as jnp
import pytest
from conftest import mesh_of

from maspo_jax.plan import compiled
from maspo_jax.plan.programs import Program

# As the compiler of TPUs writes it: a loop of 28 in a loop of 2, a gather that begins
# in one fusion and ends in another, and a branch.
TEXT = """
%start (p: bf16[96]) -> bf16[1536] {
  ROOT %all-gather.1 = bf16[1536]{0} all-gather(%p), channel_id=1, dimensions={0}
}

%done (p: bf16[96]) -> bf16[1536] {
  ROOT %all-gather.2 = bf16[1536]{0} all-gather(%p), channel_id=1, dimensions={0}
}

%layers (p: (s32[], bf16[96])) -> (s32[], bf16[96]) {
  %fusion.1 = bf16[1536]{0} fusion(%x), kind=kCustom, calls=%start
  %fusion.2 = bf16[1536]{0} fusion(%x), kind=kCustom, calls=%done
  %scatter = bf16[96]{0} reduce-scatter(%fusion.2), channel_id=2, to_apply=%add
}

%below_28 (p: (s32[], bf16[96])) -> pred[] {
  %constant.3 = s32[]{:T(128)} constant(28)
  ROOT %lt = pred[]{:T(512)} compare(%i, %constant.3), direction=LT
}

%pieces (p: (s32[], bf16[96])) -> (s32[], bf16[96]) {
  %while.1 = (s32[], bf16[96]) while(%t), condition=%below_28, body=%layers
}

%below_2 (p: (s32[], bf16[96])) -> pred[] {
  %constant.4 = s32[]{:T(128)} constant(2)
  ROOT %lt = pred[]{:T(512)} compare(%i, %constant.4), direction=LT
}

%seldom (p: f32[]) -> f32[] {
  ROOT %all-reduce.4 = f32[] all-reduce(%p), channel_id=5, to_apply=%add
}

ENTRY %main (p: bf16[96]) -> bf16[96] {
  %while.2 = (s32[], bf16[96]) while(%t), condition=%below_2, body=%pieces
  %all-reduce.3 = f32[]{:T(128)} all-reduce-start(%loss), channel_id=3, to_apply=%add
  %all-reduce.5 = f32[]{:T(128)} all-reduce(%norm), channel_id=3, to_apply=%add
  %c = f32[] conditional(%b, %x, %y), branch_computations={%seldom, %other}
}
"""


def test_collectives_are_counted_as_often_as_they_run():
    assert compiled.count_collectives(TEXT) == {
        "all-gather": (1, 56),
        "reduce-scatter": (1, 56),
        "all-reduce": (3, 3),  # GPUs give the same channel to several
    }


def program(function, *shapes, beside=0):
    return Program(lambda: jax.jit(function).lower(*shapes), beside)


def test_a_program_is_described_by_its_compiler():
    mesh = mesh_of(8, 1)
    split = jax.NamedSharding(mesh, jax.P("data"))
    shape = jax.ShapeDtypeStruct((64, 1024), jnp.float32, sharding=split)
    made = compiled.compile_program(program(lambda x: jnp.sum(x @ x.T), shape))
    assert made.needed > 8 * 1024 * 4 and made.flops > 0 and not made.refused
    assert made.collectives


class Sizes:
    """What a compiler says of the memory of a program."""

    argument_size_in_bytes = 100
    output_size_in_bytes = 50
    alias_size_in_bytes = 40
    temp_size_in_bytes = 7


class Compiles:
    """Lowered and compiled."""

    def __init__(self):
        self.compile = lambda: self
        self.memory_analysis = Sizes
        self.cost_analysis = lambda: None
        self.as_text = lambda: TEXT


def test_a_program_needs_arguments_outputs_and_what_is_temporary():
    made = compiled.compile_program(Program(Compiles, 0))
    assert made.needed == 100 + 50 - 40 + 7 and made.flops == 0


REFUSAL = """RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in
memory space hbm. Used 153.15G of 95.74G hbm. Exceeded hbm capacity by 57.41G."""


class Refuses:
    """Lowered, and refused by a compiler."""

    def __init__(self, text):
        self.text = text

    def compile(self):
        raise RuntimeError(self.text)


@pytest.mark.parametrize(
    "text, needed, said",
    [
        (REFUSAL, 153.15 * 2**30, "153.15G of 95.74G hbm"),
        (
            "RESOURCE_EXHAUSTED: Used 1.50T of 95.74G hbm",
            1.5 * 2**40,
            "1.50T of 95.74G hbm",
        ),
        (
            "RESOURCE_EXHAUSTED: Used 512.00M of 128.00K hbm",
            2**29,
            "512.00M of 128.00K hbm",
        ),
        (
            "RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes\nmore",
            None,
            "RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes",
        ),
    ],
)
def test_too_much_memory_is_a_refusal_with_its_sizes(text, needed, said):
    made = compiled.compile_program(Program(lambda: Refuses(text), 0))
    assert made.needed == (needed and pytest.approx(needed)) and made.refused == said


def test_another_failure_of_the_compiler_is_not_taken_for_one():
    with pytest.raises(RuntimeError, match="INTERNAL"):
        compiled.compile_program(Program(lambda: Refuses("INTERNAL: a fault"), 0))


def test_a_program_is_lowered_without_the_lines_it_comes_from():
    """A compiler of TPUs compares these without end."""
    seen, before = [], jax.config.jax_traceback_in_locations_limit

    def lower():
        lowered = jax.jit(lambda x: jnp.sin(x) + 1).lower(jnp.ones(3))
        seen.append(lowered.as_text(debug_info=True))
        return lowered

    compiled.compile_program(Program(lower, 0))
    assert "test_compiled.py" not in seen[0] and "sin" in seen[0]
    assert jax.config.jax_traceback_in_locations_limit == before
