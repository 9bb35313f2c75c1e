r"""How a bare problem becomes the text a policy is asked.

Problems are stored without instructions; a template adds them, and names the form of
answer it asks for. The grader has to accept that form: a right answer in a box
scores nothing where `#### N` is expected, so an experiment that asks for one and
grades the other is refused. Report the template together with every number.
"""

import dataclasses

from maspo_jax.data.prompts import markup

# Forms of answers, by what marks them in a response.
BOX = "\\boxed{}"
ANSWER_LINE = "Answer:"
HASHES = "####"


@dataclasses.dataclass(frozen=True)
class Template:
    """Fixed text around a question.

    Joined, never formatted: `$Answer`, braces and percent signs, in the template or
    in the question, reach the policy as they are written.

    Attributes:
        name: of the template.
        before: what stands before a question.
        after: what stands behind it.
        answer: the form of answer it asks for; None leaves it open.
    """

    name: str
    before: str = ""
    after: str = ""
    answer: str | None = None
    add_bos = True  # the begin token of the tokenizer's file stands before it

    def render(self, question: str) -> str:
        """Returns the prompt for a question."""
        return self.before + question + self.after

    def question(self, prompt: str) -> str | None:
        """Returns the question of a rendered prompt, None for any other text."""
        if len(prompt) < len(self.before) + len(self.after):
            return None
        if not (prompt.startswith(self.before) and prompt.endswith(self.after)):
            return None
        return prompt[len(self.before) : len(prompt) - len(self.after)]


PLAIN = Template("plain")

_REASON = "Please reason step by step, and put your final answer within \\boxed{}."
_LAST_LINE = (
    "Solve the following math problem step by step. The last line of your response "
    "should be of the form Answer: {} where $Answer is the answer to the problem.\n\n"
)
_REMEMBER = '\n\nRemember to put your answer on its own line after "Answer:".'

# The sentence that the authors of Qwen2.5-Math and DeepSeek-R1 ask for, joined as in
# SimpleRL and AReaL; verl joins it with two line breaks or with a space.
BOXED = Template("boxed", after=f"\n{_REASON}", answer=BOX)
BOXED_PARAGRAPH = Template("boxed_paragraph", after=f"\n\n{_REASON}", answer=BOX)
BOXED_INLINE = Template("boxed_inline", after=f" {_REASON}", answer=BOX)

# Data and evaluation of DAPO; `$Answer` is meant literally.
DAPO = Template(
    "dapo",
    before=_LAST_LINE.replace("{}", "$Answer (without quotes)"),
    after=_REMEMBER,
    answer=ANSWER_LINE,
)

# The copy of DAPO that slime trains on: a box on that line.
SLIME = Template(
    "slime",
    before=_LAST_LINE.replace("{}", "\\boxed{$Answer}"),
    after=_REMEMBER,
    answer=BOX,
)

# GSM8K as verl prepares it, and so the example scripts of MASPO and DGPO.
GSM8K_HASH = Template(
    "gsm8k_hash",
    after=' Let\'s think step by step and output the final answer after "####".',
    answer=HASHES,
)

DEEPSCALER = Template(
    "deepscaler",
    after=" Let's think step by step and output the final answer within \\boxed{}.",
    answer=BOX,
)

TUNIX = Template(
    "tunix",
    after=" Let's think step by step, and put your final answer within \\boxed{}.",
    answer=BOX,
)

NEMO = Template(
    "nemo",
    before="Solve the following math problem. Make sure to put the answer (and only "
    "answer) inside \\boxed{}.\n\n",
    answer=BOX,
)

AREAL = Template(
    "areal", after="\nPlease put your final answer within \\boxed{}.", answer=BOX
)

# SimpleRL, for base models that follow no instructions. It asks for no form.
ABEL = Template(
    "abel", before="Question:\n", after="\nAnswer:\nLet's think step by step.\n"
)

# The longer of two endings first: `strip_instructions` takes off the first that fits.
ALL = (
    PLAIN, BOXED_PARAGRAPH, BOXED, BOXED_INLINE, DAPO, SLIME, GSM8K_HASH, DEEPSCALER,
    TUNIX, NEMO, AREAL, ABEL,
)  # fmt: skip


def template_named(name: str) -> Template:
    """Returns the template of a name.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    for template in ALL:
        if template.name == name:
            return template
    names = ", ".join(template.name for template in ALL)
    raise ValueError(f"template={name}: choose one of {names}")


def _doubled(template: Template) -> Template:
    """Returns a template as it is before a format string is filled: `\\boxed{{}}`."""
    double = lambda text: text.replace("{", "{{").replace("}", "}}")
    before, after = double(template.before), double(template.after)
    return dataclasses.replace(template, before=before, after=after)


# Some rows were written by a program that forgot to fill it.
_KNOWN = tuple(template for template in ALL if template is not PLAIN)
_KNOWN += tuple(filter(lambda each: each not in _KNOWN, map(_doubled, _KNOWN)))


def strip_instructions(prompt: str) -> str:
    """Returns a prompt without the markup and the instructions around its question."""
    prompt = markup.strip_markup(prompt)
    # Its last sentence may be followed by blanks, or lack its period.
    bare = prompt.rstrip()
    written = (prompt, bare, f"{bare}.")
    found = (template.question(text) for text in written for template in _KNOWN)
    return next((question for question in found if question), prompt)
