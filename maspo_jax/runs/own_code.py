"""The code of an experiment that is the user's own, as digests.

Gates, graders, advantages and templates of one's own are code: each has a digest of its
source without comments, of what it calls in files that are the user's as well, and of
the plain data that it reads: globals, defaults, what a closure holds. Data that the
code itself writes to, such as a cache, is no part of it. Nothing is known by its
`repr` but plain data, as that of other objects holds an address in memory.
"""

import ast
import dataclasses
import decimal
import dis
import enum
import fractions
import functools
import inspect
import pathlib
import re
import sys
import textwrap
import types

import jax
import numpy as np

from maspo_jax.config import serialization
from maspo_jax.storage import digest_values

PACKAGE = __name__.partition(".")[0]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, types.EllipsisType)
_PLAIN += range, slice, decimal.Decimal, fractions.Fraction
# Kinds of values -> what each consists of.
_CONTENTS = {
    enum.Enum: lambda value: [value.name],
    (tuple, list, set, frozenset): list,
    (dict, types.MappingProxyType): lambda value: list(value.items()),
    (np.ndarray, np.generic): lambda value: [value.dtype.str, value.tolist()],
    re.Pattern: lambda value: [value.pattern, value.flags],
    functools.partial: lambda value: [value.func, value.args, value.keywords],
    types.MethodType: lambda value: [value.__func__, value.__self__],
    types.ModuleType: lambda value: [value.__name__],
    types.CodeType: lambda value: [value.co_code, value.co_names, value.co_consts],
}
# Methods of lists, dicts and sets that change them.
_CHANGING = set(
    "add clear discard extend append insert pop popitem remove reverse setdefault sort "
    "update".split()
)


def digest(part):
    """Returns {name: digest} of a class, a function or an object of one's own, or {}.

    One's own is what is neither of this package nor of an installed one: their versions
    are recorded.

    Args:
        part: of an experiment; parts that it holds are not looked into.
    """
    thing = part if hasattr(part, "__qualname__") else type(part)
    reader, layers = _Reader(), _own_layers(thing)
    for layer in layers:
        reader.read(layer)
    if not layers:
        return {}
    return {serialization.public_name(thing): digest_values(reader.texts())}


def _own_layers(thing):
    """Returns those of a class or a function, and of what it decorates, that are own.

    Decorators such as `functools.lru_cache` keep what they wrap.
    """
    layers = []
    while callable(thing) and not any(thing is layer for layer in layers):
        layers.append(thing)
        if isinstance(thing, type):
            break
        thing = getattr(thing, "__wrapped__", None)
    return [layer for layer in layers if _is_own(layer)]


def _is_own(thing):
    if isinstance(thing, types.FunctionType):  # `wraps` gives it another's `__module__`
        return _is_own_module(thing.__globals__.get("__name__", ""))
    return isinstance(thing, type) and _is_own_module(thing.__module__)


def _is_own_module(name):
    root = name.partition(".")[0]
    if root == PACKAGE or root in sys.stdlib_module_names - {"__main__"}:
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return not {"site-packages", "dist-packages"} & set(pathlib.Path(file).parts)


class _Reader:
    """Reads classes and functions of one's own, and those that they use."""

    def __init__(self):
        self._written = {}  # class or function -> its source
        self._data = set()  # (where, name, text) of what they read
        self._state = set()  # (where, name) of what they write to

    def texts(self):
        """Returns what was read, whatever the order it was read in."""
        data = [each for each in self._data if each[:2] not in self._state]
        return sorted(self._written.values()), sorted(data)

    def read(self, thing):
        """Reads a class or function, and what it uses."""
        if thing in self._written:
            return
        name = f"{thing.__module__}:{thing.__qualname__}"
        self._written[thing] = name
        tree = _tree(thing)
        functions = [thing]
        if isinstance(thing, type):
            functions = self._functions_of(thing, name, tree)
        if tree is None:  # of an interpreter that keeps no source
            written = [self._text(function.__code__) for function in functions]
        else:
            written = ast.unparse(tree)
        self._written[thing] = f"{name} {written}"
        changed = _changed(tree)
        for function in functions:
            for where, used, value in _used(function):
                self._data.add((where, used, self._text(value)))
            where, inside = _place(function), {*function.__code__.co_varnames}
            inside |= {*function.__code__.co_freevars}
            self._state |= {(where, each) for each in changed & inside}
            where = function.__globals__.get("__name__", "")
            self._state |= {(where, each) for each in changed - inside}

    def _functions_of(self, kind, name, tree):
        """Returns the functions of a class; reads its bases and its other members.

        What a decorator has added, as that of dataclasses does, is not the user's.
        """
        for base in kind.__bases__:
            self._read_own(base)
        found = []
        for attribute, member in vars(kind).items():
            if attribute not in _bound(tree, vars(kind)):
                continue
            functions = _functions(member)
            found += functions
            if not functions:
                self._data.add((name, attribute, self._text(member)))
        return found

    def _read_own(self, thing):
        for layer in _own_layers(thing):
            self.read(layer)

    def _text(self, value, outer=()):
        """Returns plain data as a text, and reads the code that is in it.

        Args:
            value: of any kind; one that is neither is known by its class.
            outer: the containers around it.
        """
        if type(value) in _PLAIN:
            return repr(value)
        if any(value is each for each in outer):
            return "itself"
        if isinstance(value, jax.Array):
            is_key = jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
            value = np.asarray(jax.random.key_data(value) if is_key else value)
        self._read_own(type(value))
        kind, contents = type(value).__qualname__, _contents(value)
        if contents is None:
            self._read_own(value)
            return getattr(value, "__name__", kind)
        texts = [self._text(each, (*outer, value)) for each in contents]
        texts = sorted(texts) if isinstance(value, set | frozenset) else texts
        return f"{kind}({', '.join(texts)})"


def _contents(value):
    """Returns what a value consists of, plain data and values, or None."""
    for kinds, contents in _CONTENTS.items():
        if isinstance(value, kinds):
            return contents(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, getattr(value, name, None)) for name in names]
    return None


def _functions(member):
    """Returns the functions of one's own behind a member of a class."""
    found = []
    for name in ("fget", "fset", "func", "__func__"):
        found += _own_layers(getattr(member, name, None))
    found = found or _own_layers(member)
    return [each for each in found if isinstance(each, types.FunctionType)]


def _place(function):
    return f"{function.__module__}:{function.__qualname__}"


def _used(function):
    """Yields (where, name, value) of what a function uses and does not make itself."""
    compiled, where = function.__code__, _place(function)
    defaults = function.__defaults__ or ()
    names = compiled.co_varnames[: compiled.co_argcount]
    names = names[len(names) - len(defaults) :]
    for name, value in zip(names, defaults, strict=True):
        yield where, name, value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield where, name, value
    cells = function.__closure__ or ()
    for name, cell in zip(compiled.co_freevars, cells, strict=True):
        try:
            yield where, name, cell.cell_contents
        except ValueError:  # of a name that has no value yet
            continue
    module = function.__globals__.get("__name__", "")
    names = _names(compiled)
    yield from _named(_loaded(compiled), names, function.__globals__, module)


def _named(wanted, names, there, module, above=()):
    """Yields (module, name, value) of names in a module, and in own modules there.

    Args:
        wanted: the names.
        names: those that may be asked of a module.
        there: {name: value} of the module.
        module: its name.
        above: names of the modules that it was found in.
    """
    for name in sorted(wanted & there.keys()):
        value = there[name]
        if name.startswith("__"):  # such as where the file is
            continue
        yield module, name, value
        if isinstance(value, types.ModuleType) and value.__name__ not in above:
            if _is_own_module(value.__name__):
                inside = names, names, vars(value), value.__name__
                yield from _named(*inside, (*above, module))


def _names(compiled):
    """Returns the names that a code object uses of others, and those within it."""
    found = set(compiled.co_names)
    for constant in compiled.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _loaded(compiled):
    """Returns the global names that a code object reads, and those within it."""
    found = {
        each.argval
        for each in dis.get_instructions(compiled)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in compiled.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _loaded(constant)
    return found


def _tree(thing):
    """Returns the source of a class or function, parsed, or None if there is none."""
    # Of a function that a decorator made, Python would give what it decorates.
    thing = getattr(thing, "__code__", thing)
    # Of what `exec` made, newer Pythons would give the text of `python -c`.
    if getattr(thing, "co_filename", "") == "<string>":
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):
        return None
    return _Bare().visit(tree)


class _Bare(ast.NodeTransformer):
    """Drops docstrings."""

    def visit_Expr(self, node):
        """Drops a text that stands alone."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(
            node.value.value, str
        )
        return ast.Pass() if is_text else node


def _bound(tree, members):
    """Returns the names that the source of a class gives to something, or all."""
    if tree is None:
        return members.keys()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return found | {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _changed(tree):
    """Returns the names that code declares global, or whose content it changes."""
    found = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Global):
            found.update(node.names)
        changed = None
        if isinstance(node, ast.Subscript | ast.Attribute):
            changed = node.value if isinstance(node.ctx, ast.Store | ast.Del) else None
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changed = node.func.value if node.func.attr in _CHANGING else None
        if isinstance(changed, ast.Name):
            found.add(changed.id)
    return found
