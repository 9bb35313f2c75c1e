"""How a bare problem becomes the text a policy is asked.

Problems are stored without instructions; a template adds them. The style has to
agree with how answers are extracted: a right answer in a box scores nothing where
`#### N` is expected, so report the template together with every number.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Template:
    """Fixed text around a question.

    Joined, never formatted: `$Answer`, braces and percent signs, in the template or
    in the question, reach the policy as they are written.
    """

    name: str
    before: str = ""
    after: str = ""

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

# The sentence that the authors of Qwen2.5-Math and DeepSeek-R1 ask for.
BOXED = Template(
    "boxed",
    after="\nPlease reason step by step, and put your final answer within \\boxed{}.",
)

# Data and evaluation of DAPO; `$Answer` is meant literally.
DAPO = Template(
    "dapo",
    before="Solve the following math problem step by step. The last line of your "
    "response should be of the form Answer: $Answer (without quotes) where $Answer is "
    "the answer to the problem.\n\n",
    after='\n\nRemember to put your answer on its own line after "Answer:".',
)

# GSM8K as verl prepares it, and so the example scripts of MASPO and DGPO.
GSM8K_HASH = Template(
    "gsm8k_hash",
    after=' Let\'s think step by step and output the final answer after "####".',
)

DEEPSCALER = Template(
    "deepscaler",
    after=" Let's think step by step and output the final answer within \\boxed{}.",
)

ALL = (PLAIN, BOXED, DAPO, GSM8K_HASH, DEEPSCALER)


def bare(prompt: str) -> str:
    """Returns a prompt without the instructions of the template that wrote it."""
    instructed = (template for template in ALL if template is not PLAIN)
    found = (template.question(prompt) for template in instructed)
    return next((question for question in found if question), prompt)
