"""What code of one's own reads counts as it does; what it writes does not."""

import importlib.util
import sys

import pytest

from maspo_jax.runs import own_code

HEAD = "import enum, functools, re\nimport numpy as np\n\n"
GRADER = "def g(response, gold):\n    return {}\n"
DOUBLED = """
def scaled(by):
    def decorate(function):
        @functools.wraps(function)
        def inner(*words):
            return by * function(*words)
        return inner
    return decorate
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a text as a module. Returns it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of files a moment old

    def loaded(text):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + text)
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return module

    return loaded


READ = {
    "dict": ("W = {'m': 1}\n", "1", "2"),
    "order of a dict": ("W = {1: 0, 2: 0}\n", "1: 0, 2: 0", "2: 0, 1: 0"),
    "list in a dict": ("W = {'m': [1, (2, 3)]}\n", "3", "4"),
    "set": ("W = {'a', 'b'}\n", "'b'", "'c'"),
    "pattern": ("W = re.compile('a+')\n", "a+", "a*"),
    "flag of a pattern": ("W = re.compile('a')\n", "'a'", "'a', re.I"),
    "nothing": ("W = None\n", "None", "0"),
    "array": ("W = np.arange(3)\n", "3", "4"),
    "range": ("W = range(3)\n", "3", "4"),
    "partial": ("W = functools.partial(pow, 2)\n", "2", "3"),
    "enum": ("class E(enum.Enum):\n    A = 1\n    B = 2\nW = E.A\n", "E.A", "E.B"),
    "function in a tuple": ("def f():\n    return 1\nW = 1, (f, 2)\n", "return 1", "0"),
    "function in a dict": ("def f():\n    return 1\nW = {'f': f}\n", "return 1", "0"),
    "library": ("W = re.match\n", "match", "search"),
    "module": ("import math as W\n", "math", "cmath"),
    "closure": (
        "def make(w):\n    def inner():\n        return w\n    return inner\n"
        "W = make(1)\n",
        "make(1)",
        "make(2)",
    ),
    "cached helper": (
        "V = 1\n@functools.lru_cache\ndef W():\n    return V\n",
        "V = 1",
        "V = 2",
    ),
}


@pytest.mark.parametrize("text, old, new", READ.values(), ids=READ)
def test_what_a_grader_reads_counts(load, text, old, new):
    text += GRADER.format("W")
    assert text.count(old) == 1
    before = own_code.digest(load(text).g)
    assert before.keys() == {"mine:g"}
    assert own_code.digest(load(text.replace(old, new)).g) != before
    assert own_code.digest(load(text).g) == before


PLACES = {
    "cached": ("W = 1\n@functools.lru_cache\n" + GRADER.format("W"), "W = 1", "W = 2"),
    "body of a cached one": (
        "@functools.lru_cache\n" + GRADER.format("1"),
        "return 1",
        "return 2",
    ),
    "default": ("W = 1\ndef g(a, b, w=W):\n    return w\n", "W = 1", "W = 2"),
    "named default": ("W = 1\ndef g(a, b, *, w=W):\n    return w\n", "W = 1", "W = 2"),
    "below a decorator": (
        f"{DOUBLED}W = 1\n@scaled(2)\n" + GRADER.format("W"),
        "W = 1",
        "W = 2",
    ),
    "a decorator": (
        f"{DOUBLED}@scaled(2)\n" + GRADER.format("1"),
        "by * function",
        "by + function",
    ),
    "what a decorator was given": (
        f"{DOUBLED}V = 2\n@scaled(V)\n" + GRADER.format("1"),
        "V = 2",
        "V = 3",
    ),
    "within what is within": (
        "W = 1\n" + GRADER.format("(lambda: (lambda: W)())()"),
        "W = 1",
        "W = 2",
    ),
    "property": (
        "W = 1\nclass g:\n    @property\n    def w(self):\n        return W\n",
        "W = 1",
        "W = 2",
    ),
    "cached property": (
        "W = 1\nclass g:\n    @functools.cached_property\n    def w(self):\n"
        "        return W\n",
        "W = 1",
        "W = 2",
    ),
    "static method": (
        "W = 1\nclass g:\n    @staticmethod\n    def w():\n        return W\n",
        "W = 1",
        "W = 2",
    ),
    "member": ("W = [1]\nclass g:\n    w = W\n", "[1]", "[2]"),
}


@pytest.mark.parametrize("text, old, new", PLACES.values(), ids=PLACES)
def test_it_counts_wherever_it_is_read(load, text, old, new):
    assert text.count(old) == 1
    before = own_code.digest(load(text).g)
    assert before.keys() == {"mine:g"}
    assert own_code.digest(load(text.replace(old, new)).g) != before
    assert own_code.digest(load(text).g) == before


UNMOVED = {
    "objects": "class A: pass\nW = A(), object(), lambda: 0, {A: [A()]}\n",
    "itself": "W = [1]\nW.append(W)\n",
    "a file": "W = __file__ and 1\n",
}


@pytest.mark.parametrize("text", UNMOVED.values(), ids=UNMOVED)
def test_where_things_lie_in_memory_does_not_count(load, text):
    text += GRADER.format("W")
    kept = load(text)
    assert own_code.digest(kept.g) == own_code.digest(load(text).g)


def test_the_order_of_a_set_does_not_count(load):
    texts = [f"W = {each}\n" + GRADER.format("W") for each in ("{0, 8}", "{8, 0}")]
    one, other = (load(text) for text in texts)
    assert [*one.W] != [*other.W]
    assert own_code.digest(one.g) == own_code.digest(other.g)


WRITTEN = {
    "key": "W = {}\ndef g(a, b):\n    W[a] = b\n",
    "method": "W = []\ndef g(a, b):\n    W.append(a)\n",
    "global": "W = 0\ndef g(a, b):\n    global W\n    W = W + 1\n",
    "by another": "W = {}\ndef f(a):\n    W[a] = 1\ndef g(a, b):\n    f(a), W.get(a)\n",
    "default": "def g(a, b, seen=[]):\n    seen.append(a)\n",
    "closure": (
        "def memo(function):\n    seen = {}\n    @functools.wraps(function)\n"
        "    def inner(*a):\n        seen[a] = function(*a)\n        return seen[a]\n"
        "    return inner\n@memo\ndef g(a, b):\n    return 1\n"
    ),
    "cache": "@functools.lru_cache\ndef g(a, b):\n    return 1\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_a_grader_keeps_does_not_count(load, text):
    module = load(text)
    before = own_code.digest(module.g)
    assert before.keys() == {"mine:g"}
    module.g("a", "b")
    assert own_code.digest(module.g) == before


def test_a_local_name_hides_no_global(load):
    text = (
        "W = [1]\ndef f():\n    return W\ndef g(a, b):\n    W = f()\n    W.append(a)\n"
    )
    before = own_code.digest(load(text).g)
    assert own_code.digest(load(text.replace("[1]", "[2]")).g) != before


def test_code_without_a_source_counts_as_it_was_compiled():
    def compiled(constant):
        there = {"__name__": "mine"}
        exec(f"def g(a, b):\n    return (lambda: a in {constant})()\n", there)
        return own_code.digest(there["g"])

    assert compiled("{1, 2}") == compiled("{1, 2}") != compiled("{1, 3}")
