"""Cases, and the processes that run them: crashes and hangs are seen from outside."""

import faulthandler
import multiprocessing
import os
import random
import re
import resource
import signal
import tempfile
import time
from dataclasses import replace

from . import networks, others, programs
from .checks import Verdict, check
from .known import known

#: For each kind of case: what writes its program, and a limit of seconds.
KINDS = {
    "known": (known, 20),
    "estimators": (programs.estimators, 20),
    "calls": (programs.calls, 20),
    "networks": (networks.networks, 20),
    "texts": (others.texts, 20),
    "threads": (others.threads, 90),
    "weights": (others.weights, 20),
    "kernels": (others.kernels, 120),
}
#: Cases in a process, until the next takes its place.
_LIFE = 300
_MEMORY = 6 * 2**30
_CONTEXT = multiprocessing.get_context("spawn")


def program(kind, number, seed=0):
    """Return the program of a case: the same for the same numbers, whatever came before."""
    if kind == "known":
        return "\n".join(known(number)) + "\n"
    write, _ = KINDS[kind]
    return "\n".join(write(random.Random(f"{seed} {kind} {number}"))) + "\n"


def _serve(connection, log):
    """Run programs until there are no more: a worker's whole life."""
    file = open(log, "w")
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    faulthandler.enable(file)
    faulthandler.register(signal.SIGUSR1, file)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        connection.send(("ready", None))
        while True:
            try:
                source = connection.recv()
            except EOFError:
                return
            connection.send(("verdict", check(source, lambda line: connection.send(("at", line)))))


class Worker:
    """A process that runs programs, and is replaced when one has killed it."""

    def __init__(self):
        self._process, self._ran = None, 0
        self._folder = tempfile.TemporaryDirectory()
        self._log = os.path.join(self._folder.name, "log")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._end()
        self._folder.cleanup()

    def _start(self):
        self._connection, other = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(other, self._log))
        self._process.start()
        other.close()
        self._connection.recv()
        self._ran = 0

    def _end(self):
        if self._process is not None:
            self._connection.close()
            self._process.join(2)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process = None

    def run(self, source, limit):
        """Return the Verdict on a program, or None if nothing is wrong.

        What crashes or hangs runs once more in a process of its own, with more time: kernels are
        compiled by then, and it is known whether it does so by itself.
        """
        verdict = self.run_once(source, limit)
        if verdict is None or verdict.kind not in ("crash", "hang"):
            return verdict
        again = self.run_once(source, 2 * limit)
        if again is None and verdict.kind == "crash":
            return replace(verdict, kind="crash, after other cases")
        return again

    def run_once(self, source, limit):
        """Return the first Verdict on a program."""
        if self._process is None or self._ran >= _LIFE:
            self._end()
            self._start()
        self._ran += 1
        line, what, end = -1, None, time.monotonic() + limit
        try:
            self._connection.send(source)
            while self._connection.poll(max(0, end - time.monotonic())):
                what, value = self._connection.recv()
                if what == "verdict":
                    return value
                line = value
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._end()
            if code >= 0:
                with open(self._log, errors="replace") as file:
                    return Verdict("the fuzzer fails", "itself", line, file.read()[-2000:])
            return Verdict("crash", self._place(), line, signal.Signals(-code).name)
        os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(0.2)
        self._process.kill()
        self._end()
        return Verdict("hang", self._place(), line, f"more than {limit} seconds")

    def _place(self):
        """Return the innermost place in the package that the worker was seen at last."""
        with open(self._log, errors="replace") as file:
            trace = file.read().split("most recent call first")[-1]
        found = re.search(r'sknn/((?!cpu/cache)[\w/]+\.py)", line \d+ in (\w+)', trace)
        return ":".join(found.groups()) if found else "outside"
