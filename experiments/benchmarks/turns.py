"""What benchmarks share that set systems beside each other on one core of a CPU.

A worker is a process that has one system ready. It says so in a line of JSON, and then
does one run for each line that it reads. Workers take turns, so that whatever else the
machine does falls on all alike. What counts are CPU seconds, of a worker and of the
processes that it has started.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import textwrap
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
PACKAGES = ("jax", "torch", "transformers")
TUNIX = "google-tunix"
RECORDED = ("name", "ours", "peer", "ratio", "unit", "peer_name")


# In a worker.


def cpu_seconds():
    """Returns the CPU seconds of this process and of all that it has started."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = time.process_time() + ended.ru_utime + ended.ru_stime
    return own + sum(map(_cpu_seconds_of, _children(os.getpid())))


def _children(process):
    try:
        tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
        return [
            int(n) for task in tasks for n in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended, or this is not Linux
        return []


def _cpu_seconds_of(process):
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0.0
    # Behind the name, which may hold anything: its own times and those of its ended
    # children, in user and in system mode.
    ticks = sum(map(int, text.rpartition(")")[2].split()[11:15]))
    own = ticks / os.sysconf("SC_CLK_TCK")
    return own + sum(map(_cpu_seconds_of, _children(process)))


def peak_gib():
    """Returns the most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Line:
    """The line between a worker and who asks it for turns."""

    def __init__(self):
        self._said = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what packages print is no answer

    def say(self, **answer):
        """Answers."""
        print(json.dumps(answer), file=self._said, flush=True)

    def asked(self):
        """Returns the number of the next turn when it is asked for; None at the end."""
        line = sys.stdin.readline()
        return int(line) if line else None


class Stopwatch:
    """CPU seconds, wall seconds and the peak of memory since it was made."""

    def __init__(self):
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self):
        """Returns them as a dict."""
        cpu, wall = cpu_seconds() - self._cpu, time.perf_counter() - self._wall
        return {"cpu": cpu, "wall": wall, "GiB": peak_gib()}


def serve(make):
    """Makes a system ready, then runs it once for each line read, and says so.

    Args:
        make: a function that returns another, of the number of the turn; that one may
            return a dict of further measures.
    """
    line = Line()
    run = make()
    line.say()
    while (number := line.asked()) is not None:
        watch = Stopwatch()
        more = run(number) or {}
        line.say(**watch.read(), **more)


class Parts:
    """CPU seconds of the parts of a program: functions that its main thread calls.

    What a part calls is not counted twice; what other threads do meanwhile is counted
    where the main one is.
    """

    def __init__(self):
        self.seconds, self._inner = {}, []

    @contextlib.contextmanager
    def __call__(self, name):
        """Times a part."""
        begin = cpu_seconds()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = cpu_seconds() - begin
            own = spent - self._inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            if self._inner:
                self._inner[-1] += spent

    def timed(self, name, function, wait=False):
        """Returns a function that is timed wherever the main thread calls it.

        Args:
            name: of the part.
            function: the plain one.
            wait: whether for the arrays of its result, within the part.
        """

        @functools.wraps(function)
        def run(*arguments, **settings):
            if threading.current_thread() is not threading.main_thread():
                return function(*arguments, **settings)
            with self(name):
                result = function(*arguments, **settings)
                if wait:
                    import jax

                    jax.block_until_ready(result)
                return result

        return run


def assert_of(tree):
    """Refuses to measure another tree than the one that was meant."""
    import maspo_jax

    file = maspo_jax.__file__
    assert pathlib.Path(file).is_relative_to(tree), f"{file} is not of {tree}"


def run_main(words):
    """Runs `maspo`, and returns what it prints."""
    from maspo_jax.cli.main import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([str(word) for word in words])
    if status:
        raise SystemExit(f"maspo {words[0]} ended with {status}:\n{printed.getvalue()}")
    return printed.getvalue()


# In the process that asks.


def environment(caches, tree=ROOT):
    """Returns variables for a process, which keeps and finds there what it compiles.

    Args:
        caches: a folder, for that of the user.
        tree: a checkout of this project, whose package is imported.
    """
    paths = [str(tree.resolve()), str(pathlib.Path(__file__).parent)]
    paths += filter(None, [os.getenv("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(caches)}


class Worker:
    """A process that has one system ready, and what it has measured."""

    def __init__(self, python, script, *words, env=None, runs=()):
        """Starts it.

        Args:
            python: the interpreter.
            script: has the worker.
            *words: which one.
            env: further variables of its environment.
            runs: what another process has measured of the same.
        """
        self._process = subprocess.Popen(
            [python, script, "--serve", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        self.runs = list(runs)
        self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise SystemExit(f"a process ended: {self._process.returncode}")
        return json.loads(line)

    def turn(self, number):
        """Runs once."""
        print(number, file=self._process.stdin, flush=True)
        self.runs.append(self._answer())

    def end(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def median(self, what):
        """Returns the median of a measure over its runs."""
        return statistics.median(run[what] for run in self.runs)


def take_turns(starts, count):
    """Returns {name: `Worker`} after their turns, all ready at once.

    Args:
        starts: {name: a function that starts its `Worker`}, the first one of a turn;
            every other turn has them in the opposite order.
        count: of turns.
    """
    workers = {}
    with contextlib.ExitStack() as ends:
        for name, start in starts.items():
            workers[name] = start()
            ends.callback(workers[name].end)
        for number in range(1, count + 1):
            for worker in in_turn(workers.values(), number):
                worker.turn(number)
    return workers


def in_turn(items, number):
    """Returns items in the order of a turn: every other one begins with the last."""
    items = list(items)
    return items if number % 2 else items[::-1]


def has_package(python, name):
    """Returns the version of a package that an interpreter finds, or None."""
    words = (
        "import importlib.metadata as m, sys\n"
        "try: print(m.version(sys.argv[1]))\n"
        "except m.PackageNotFoundError: pass"
    )
    done = subprocess.run(
        [python, "-c", words, name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip() or None


# What this core does at best.

SIZE = 2048  # of the matrices of a product
READ = 2**21  # numbers of a matrix that a vector is multiplied by; they fit in a cache


def best_of(run, amount, repeats):
    """Returns an amount by the CPU seconds of the fastest run."""
    spent = []
    for _ in range(repeats + 1):  # the first one does not count
        begin = time.process_time()
        run()
        spent.append(time.process_time() - begin)
    return amount / max(min(spent[1:]), 1e-9)


def measure_rates(repeats=8):
    """Returns operations of float32 products and bytes read, of a CPU second."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    square = jnp.ones((SIZE, SIZE))
    product = jax.jit(jnp.matmul)
    flops = best_of(
        lambda: jax.block_until_ready(product(square, square)), 2 * SIZE**3, repeats
    )
    wide, vector = np.ones((READ // 1024, 1024), np.float32), np.ones(1024, np.float32)

    def read():
        for _ in range(64):
            wide @ vector

    return {"flops": flops, "bytes": best_of(read, 64 * wide.nbytes, repeats)}


class Numbers:
    """A tokenizer for Tunix: tokens are written as their numbers."""

    def __init__(self, end, pad):
        """Takes the token that ends a response, and the one that fills up rows."""
        self._end, self._pad = end, pad

    def encode(self, text, **_):
        """Returns tokens."""
        return [int(word) for word in text.split()]

    def decode(self, tokens, **_):
        """Returns text."""
        return " ".join(str(int(token)) for token in tokens)

    def bos_id(self):
        """There is none."""

    def eos_id(self):
        """Returns the token that ends a response."""
        return self._end

    def pad_id(self):
        """Returns what fills up rows."""
        return self._pad


# Arguments and results.


def arguments(description):
    """Returns a parser of what all of them take."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--turns", type=at_least_one, help="of each system")
    parser.add_argument(
        "--core", type=own_core, help="that all of it runs on (default: the last one)"
    )
    parser.add_argument("--tiny", action="store_true", help="for a trial")
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="also writes the rows here"
    )
    parser.add_argument(
        "--out", type=new_file, metavar="FILE.md", help="also writes the page here"
    )
    return parser


def at_least_one(word):
    """Returns the number that a word of the command line stands for."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word}: give a whole number, at least 1")
    return int(word)


def own_core(word):
    """Returns the core that a word of the command line stands for."""
    cores = sorted(os.sched_getaffinity(0))
    if not word.isdecimal() or int(word) not in cores:
        raise argparse.ArgumentTypeError(f"{word}: choose one of {cores}")
    return int(word)


def new_file(word):
    """Returns the path of a file that can be written, before anything is measured."""
    path = pathlib.Path(word)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"{word}: cannot be written; give a file in a folder that is there"
        )
    return path


def interpreter(word):
    """Returns the path of a Python that a word of the command line stands for."""
    if shutil.which(word) is None:
        raise argparse.ArgumentTypeError(f"{word}: is no program that can be run")
    return word


class Page:
    """What a benchmark has found: printed as it comes, and written.

    A page says by which command, when, on which machine and with which versions; its
    rows are {name, ours, peer, ratio, unit, peer_name}, the ratio peer / ours.
    """

    def __init__(self, title, options, hidden=(), packages=PACKAGES):
        """Pins this process, and what it starts, to one core and one thread.

        Args:
            title: of the page.
            options: the parsed arguments.
            hidden: {option: what stands for its value, a path, on the page}.
            packages: whose versions are said.
        """
        os.environ.update(ONE_THREAD)
        for name in [name for name in os.environ if "COMPILATION_CACHE" in name]:
            del os.environ[name]
        paths = [str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        cores = os.sched_getaffinity(0)
        core = max(cores) if options.core is None else options.core
        os.sched_setaffinity(0, {core})
        self._options, self.rows, self._rates = options, [], {}
        self.versions = {"python": platform.python_version()}
        for package in packages:
            self.versions[package] = importlib.metadata.version(package)
        self._date, self._lines = time.strftime("%F"), []
        self._title, self._command = title, command_line(sys.argv, dict(hidden))
        self._machine = f"{processor()}, one of {os.cpu_count()} cores"
        about = [f"{name} {version}" for name, version in self.versions.items()]
        print(f"{title}\n{self._date}, {self._machine}, {', '.join(about)}", flush=True)

    def find_tunix(self, python):
        """Returns the interpreter if it has Tunix, which is noted; None if not."""
        version = has_package(python, TUNIX)
        if version is None:
            self.say(f"{TUNIX} is not installed here, and left out.")
            return None
        self.versions[TUNIX] = version
        return python

    def rates(self):
        """Measures what the core does at best. Returns the best so far, a dict.

        To be called before and behind what is compared with it, for other processes
        slow it down.
        """
        words = [sys.executable, __file__, "--rates"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        for name, rate in json.loads(done.stdout).items():
            self._rates[name] = max(rate, self._rates.get(name, 0))
        return self._rates

    def say(self, text=""):
        """Prints a line, and puts it on the page."""
        print(text, flush=True)
        self._lines.append(text)

    def table(self, heads, rows):
        """Prints a table, and puts it on the page; all but the first are numbers."""
        self.say()
        self.say(f"| {' | '.join(heads)} |")
        self.say(f"|---|{'--:|' * (len(heads) - 1)}")
        for row in rows:
            self.say(f"| {' | '.join(map(cell, row))} |")
        self.say()

    def compare(self, name, ours, peer, peer_name, unit="CPU s"):
        """Adds a row for the file of rows."""
        values = name, ours, peer, peer / ours, unit, peer_name
        self.rows.append(dict(zip(RECORDED, values, strict=True)))

    def write(self):
        """Writes the files asked for, also in between: what is there by then."""
        if self._options.json:
            about = self.versions | {"date": self._date, "machine": self._machine}
            if self._rates:
                about["rates"] = self._rates
            text = json.dumps(about | {"rows": self.rows}, indent=1)
            self._options.json.write_text(text + "\n")
        if self._options.out:
            self._options.out.write_text(self._text())

    def _text(self):
        about = [self._date, self._machine]
        if self._rates:
            about.append(
                f"which does {self._rates['flops'] / 1e9:.0f} GFLOP/s of float32 "
                f"products and reads {self._rates['bytes'] / 1e9:.0f} GB/s (measured)"
            )
        about += [f"{name} {version}" for name, version in self.versions.items()]
        about = wrapped(", ".join(about) + ".")
        head = f"# {self._title}\n\n    {self._command}\n\n{about}\n\n"
        lines = "\n".join(map(wrapped, self._lines)).strip()
        return re.sub("\n{3,}", "\n\n", f"{head}{lines}\n")


def cell(value):
    """Returns a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def wrapped(line):
    """Returns a line of text as several; one of a table as it is."""
    return line if line.strip().startswith("|") else textwrap.fill(line, 88)


def command_line(words, hidden):
    """Returns the command, without where its results went.

    Args:
        words: those of this process, the script first.
        hidden: {option: what stands for its value}.
    """
    script, *words = words
    said, words = (
        ["python", f"experiments/benchmarks/{pathlib.Path(script).name}"],
        [*words],
    )
    while words:
        word = words.pop(0)
        if word in ("--json", "--out", "--core"):
            words.pop(0)
        elif word in hidden:
            words.pop(0)
            said += [word, hidden[word]]
        else:
            said.append(shlex.quote(word))
    return " ".join(said)


def processor():
    """Returns the name of the processor."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__" and sys.argv[1:] == ["--rates"]:
    print(json.dumps(measure_rates()))
