"""A fuzzer: random programs that call the package in many wrong ways, and some right ones.

A case is a program, a few lines of Python that :mod:`.programs` and its neighbors write at random;
kind, seed and number of a case say what it is. Programs run in a process of their own
(:mod:`.worker`), which checks after each statement what must always hold (:mod:`.checks`). Its
parent (:mod:`.session`) detects crashes and hangs, and findings are made as short as possible
(:mod:`.shrink`) and printed.

    python -m tests.fuzz --cases 10000

Since what is run is text, what is printed is what was run: it can be pasted into an interpreter,
where a statement that raises does not keep the next from running.
"""
