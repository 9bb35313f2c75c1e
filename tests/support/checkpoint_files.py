"""A small checkpoint as `transformers` writes it, and an experiment on it."""

import pathlib

import pytest
from conftest import REFERENCE_DATA, ROOT

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PROMPT_LENGTH = 352  # of the longest of the problems
SMALL = [
    *("--validation.problems", 8),
    *("--sft.phases.0.updates", 12, "--sft.batch", 8),
    *("--sft.row-length", 640, "--sft.optimization.learning-rate", 1e-2),
    *("--sampling.prompts", 8, "--sampling.responses", 2),
    *("--sampling.prompt-length", PROMPT_LENGTH, "--sampling.response-length", 16),
    *("--updates.minibatches", 2, "--steps", 2),
]


def write_problems(file):
    """Writes a few real problems of GSM8K as released. Returns the file."""
    rows = (REFERENCE_DATA / "gsm8k" / "train.jsonl").read_text().splitlines(True)[:32]
    file.write_text("".join(row for row in rows if len(row) < 900))
    return file


def write_checkpoint(folder, problems, longest=512):
    """Writes a small Qwen2 in three files, and a tokenizer made for some problems."""
    torch = pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    transformers = pytest.importorskip("transformers", reason="likewise")
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    usual = transformers.Qwen2Tokenizer().backend_tokenizer
    library.normalizer = usual.normalizer
    library.pre_tokenizer, library.decoder = usual.pre_tokenizer, usual.decoder
    library.train(
        [str(problems)],
        tokenizers.trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIALS,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=library, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    config = transformers.Qwen2Config(
        vocab_size=416,  # more rows than tokens, as the released ones have
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = [2, 0]
    model.save_pretrained(folder, max_shard_size="40KB")
    return folder


def write_experiment(file, checkpoint, problems):
    """Writes `experiments/checkpoint.py` for a checkpoint and a file of problems.

    Beside the problems come a few others, to be held out.
    """
    text = (ROOT / "experiments" / "checkpoint.py").read_text()
    text = text.replace('"checkpoint"', repr(str(checkpoint)))
    text = text.replace('"train.jsonl"', repr(str(problems)))
    held_out = pathlib.Path(problems).with_name("held_out.jsonl")
    rows = (REFERENCE_DATA / "gsm8k" / "train.jsonl").read_text().splitlines(True)[32:]
    short = "".join(row for row in rows if len(row) < 700)
    (file.parent / held_out).write_text(short)
    text = text.replace('"test.jsonl"', repr(str(held_out)))
    file.write_text(text)
    return file
