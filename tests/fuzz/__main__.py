"""The fuzzer's command line: ``python -m tests.fuzz --help``."""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from .session import KINDS, Worker, program
from .shrink import shrink


def main():
    """Run cases, and print what they find; return whether that was something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="how many, of all kinds together")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="limit in all")
    parser.add_argument("--repeat", type=int, metavar="NUMBER", help="print and run one case")
    parser.add_argument("--no-shrink", action="store_true", help="print programs as they are")
    options = parser.parse_args()
    if options.repeat is not None:
        if len(options.kind) > 1:
            parser.error("--repeat needs one --kind")
        return _repeat(options)
    return _Session(options).run()


def _repeat(options):
    kind = options.kind[0]
    source = program(kind, options.repeat, options.seed)
    print(f"from tests.fuzz.tools import *\n{source}", flush=True)
    with Worker() as worker:
        verdict = worker.run(source, KINDS[kind][1])
    print(f"# {verdict or 'nothing found'}")
    return verdict is not None


class _Session:
    """Many cases, by several workers; each thing is reported once."""

    def __init__(self, options):
        self._options, self._end = options, time.monotonic() + options.seconds
        self._found, self._ran = {}, 0
        self._workers = SimpleQueue()

    def run(self):
        jobs = self._options.jobs
        workers = [Worker() for _ in range(jobs)]
        for worker in workers:
            self._workers.put(worker)
        try:
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(self._case, range(self._options.cases)))
        finally:
            for worker in workers:
                worker.__exit__()
        print(f"\n{self._ran} cases, {len(self._found)} findings")
        for key, cases in sorted(self._found.items()):
            print(f"{len(cases):6} x {' at '.join(key)}: {', '.join(cases[:5])}")
        return bool(self._found)

    def _case(self, i):
        if time.monotonic() > self._end:
            return
        kinds = self._options.kind
        kind, number = kinds[i % len(kinds)], self._options.start + i // len(kinds)
        source, limit = program(kind, number, self._options.seed), KINDS[kind][1]
        worker = self._workers.get()
        try:
            verdict = worker.run(source, limit)
            self._ran += 1
            if verdict is None:
                return
            known = verdict.key in self._found
            self._found.setdefault(verdict.key, []).append(f"{kind} {number}")
            if not known:
                self._report(worker, kind, number, source, verdict, limit)
        finally:
            self._workers.put(worker)

    def _report(self, worker, kind, number, source, verdict, limit):
        def finds(shorter):
            if time.monotonic() > self._end:
                return False
            again = worker.run_once(shorter, limit)
            return again is not None and again.key == verdict.key

        if not self._options.no_shrink:
            source = shrink(source, finds, most={"hang": 5, "crash": 30}.get(verdict.kind, 80))
        print(f"\n# {kind} {number}: {verdict}\n{source}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
