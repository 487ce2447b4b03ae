"""Shrinking a program that finds a fault."""

import ast
import copy


def shrink(source, finds, most=80):
    """Return a shorter program for which ``finds(source)`` is true, after so many tries at most."""
    tries = 0
    progress = True
    while progress:
        progress = False
        for shorter in _shorter(source):
            tries += 1
            if tries > most:
                return source
            if finds(shorter):
                source, progress = shorter, True
                break
    return source


def _shorter(source):
    """Yield the program without one of its parts: statements, arguments, elements, operations."""
    tree = ast.parse(source)
    for i in reversed(range(len(tree.body))):
        yield _without(tree, 0, "body", i)
    for place, node in enumerate(ast.walk(tree)):
        for field in ("keywords", "args", "elts"):
            for i in reversed(range(len(getattr(node, field, ())))):
                if field != "args" or len(node.args) > 1:
                    yield _without(tree, place, field, i)
        if isinstance(node, ast.Call) and len(node.args) == 1:  # the argument in the call's place
            text, inner = ast.unparse(node), ast.unparse(node.args[0])
            yield ast.unparse(tree).replace(text, inner, 1) + "\n"


def _without(tree, place, field, i):
    copied = copy.deepcopy(tree)
    del getattr(list(ast.walk(copied))[place], field)[i]
    return ast.unparse(copied) + "\n"
