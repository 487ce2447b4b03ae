"""Character models: relative times of training and sampling, memory, and likelihood of a play."""

import gzip
from functools import partial
from statistics import median

import joblib

from sknn import CharMarkovChain, CharRNN

from .character_models import MODELS, SYMBOLS, text_of
from .peers import torch
from .processes import children
from .table import Row, Task
from .timing import Side, ratios, seconds

SPEED, MEMORY, ACCURACY = "rnn-speed", "rnn-memory", "rnn-accuracy"


def tasks():
    """List the measurements of recurrent networks."""
    for name, model in MODELS.items():
        yield Task(SPEED, f"step, {name}", partial(_step, f"step, {name}", model))
    name = "sampling 1,000 characters, LSTM 256"
    yield Task(SPEED, name, partial(_sampling, name))
    for model in MODELS:
        yield Task(MEMORY, f"step, {model}", partial(_memory_of_step, f"step, {model}", model))
    name = "sampling 100,000 characters, LSTM 256"
    yield Task(MEMORY, name, partial(_memory_of_sampling, name))
    name = "Tiny Shakespeare, LSTM 128, 5 epochs"
    yield Task(ACCURACY, name, partial(_same_likelihood, name))
    name = "Tiny Shakespeare, LSTM 2 x 256"
    yield Task(ACCURACY, name, partial(_beats_chains, name))


# --- times


def _step(name, model, settings):
    model = model.small() if settings.quick else model
    text = model.text()
    net = model.estimator().partial_fit(text)
    sides = {"sknn": Side(lambda: net.partial_fit(text))}
    sides["sknn"].run()
    if torch is not None:
        sides["PyTorch"] = _fastest(torch_trainings(model, text))
    measured = ratios(sides, settings.repeats)
    yield Row(SPEED, name, "PyTorch", measured.get("PyTorch"), model.target, "x")


def torch_trainings(model, text):
    """Return sides that train PyTorch's network, in each way, with one or all threads.

    The first uses the library's layers, with all threads and oneDNN.
    """
    from . import torch_recurrent as peer

    cell, hidden, parameters = model.cell, model.hidden, model.parameters
    codes = torch.tensor([SYMBOLS.index(c) for c in text])
    net = peer.CharModel(cell, hidden, model.layers, len(SYMBOLS))
    nets = [(net, True), (net, False)]
    if cell != "lstm":  # oneDNN implements the LSTM
        nets.append((peer.LoopModel(cell, hidden, len(SYMBOLS)), True))
    way = model.streams, model.steps, parameters.get("reduction", "mean")
    sides = []
    for net, mkldnn in nets:
        optimizer = peer.make_optimizer(net, parameters.get("solver", "adam"), 1e-3)
        run = partial(peer.train, net, optimizer, codes, *way)
        sides += [
            Side(run, partial(peer.conditions, threads, mkldnn))
            for threads in sorted({1, joblib.cpu_count()}, reverse=True)
        ]
    return sides


def _fastest(sides):
    """Return the fastest side, after one run of each to warm up."""
    for side in sides:
        seconds(side)
    return min(sides, key=seconds)


def _sampling(name, settings):
    fitted, drawn = (500, 30) if settings.quick else (5000, 1000)
    net = CharRNN("lstm", 256, max_iter=1, random_state=0).fit(text_of(fitted))
    sides = {"sknn": Side(partial(net.sample, drawn, "0", random_state=0))}
    sides["sknn"].run()
    if torch is not None:
        from . import torch_recurrent as peer

        theirs = peer.CharModel("lstm", 256, 1, len(SYMBOLS)).eval()
        sides["PyTorch"] = _fastest([
            Side(partial(draw, theirs, drawn), partial(peer.conditions, threads, mkldnn))
            for draw in (peer.sample_by_module, peer.sample_by_cell, peer.sample_by_hand)
            for threads in sorted({1, joblib.cpu_count()})
            for mkldnn in (True, False)
        ])  # fmt: skip
    measured = ratios(sides, 2 * settings.repeats + 1)
    yield Row(SPEED, name, "PyTorch", measured.get("PyTorch"), 4, "x")


# --- memory


def _memory_of_step(name, model, settings):
    call = f"recurrent_memory({{peer!r}}, {model!r}, {settings.quick})"
    peers = ("sknn",) if torch is None else ("sknn", "PyTorch")
    calls = [call.format(peer=peer) for peer in peers]
    rises = dict(zip(peers, children(calls, quick=settings.quick)))
    ours, theirs = rises["sknn"], rises.get("PyTorch")
    ratio = None if ours is None or theirs is None else ours / theirs
    if ratio is not None:
        name = f"{name} ({ours:.3g} MB, PyTorch {theirs:.3g} MB)"
    yield Row(MEMORY, name, "PyTorch", ratio, None, "x its memory", at_least=False)


def _memory_of_sampling(name, settings):
    lengths = (10, 1000) if settings.quick else (1000, 100_000)
    few, many = children([f"sampling_memory({n})" for n in lengths], quick=settings.quick)
    more = None if few is None or many is None else many - few
    yield Row(MEMORY, name, "1,000 characters", more, 2, " MB more", at_least=False)


# --- likelihood


def _play(settings):
    """Return the text to train on, and its last tenth, to test on; None if it is absent."""
    if not settings.text.exists():
        return None
    with gzip.open(settings.text, "rt", encoding="utf-8") as lines:
        text = lines.read()
    text = text[:5000] if settings.quick else text
    n = int(0.9 * len(text))
    return text[:n], text[n:]


def _same_likelihood(name, settings):
    play, ratio = _play(settings), None
    if play is not None and torch is not None:
        epochs, seeds = (1, 1) if settings.quick else (5, 3)
        ours = median(_our_loss(*play, epochs, seed) for seed in range(seeds))
        theirs = median(_their_loss(*play, epochs, seed) for seed in range(seeds))
        ratio = ours / theirs
        name = f"{name} ({ours:.4f} nats per character, PyTorch {theirs:.4f})"
    yield Row(ACCURACY, name, "PyTorch", ratio, 1.01, "x its test loss", at_least=False)


def _our_loss(train, test, epochs, seed):
    net = CharRNN("lstm", batch_size=64, max_iter=epochs, random_state=seed)
    return -net.fit(train).score(test)


def _their_loss(train, test, epochs, seed):
    from . import torch_recurrent as peer

    symbols = sorted(set(train))
    train, test = (torch.tensor([symbols.index(c) for c in text]) for text in (train, test))
    torch.manual_seed(seed)
    net = peer.CharModel("lstm", 128, 1, len(symbols))
    peer.begin_as_sknn(net, seed)
    optimizer = peer.make_optimizer(net, "adam", 2e-3)
    for _ in range(epochs):
        peer.train(net, optimizer, train, 64, 50)
    return -peer.score(net, test)


def _beats_chains(name, settings):
    play, better = _play(settings), None
    if play is not None:
        train, test = play
        chains = {
            order: -CharMarkovChain(order).fit(train).score(test) for order in range(1, 7)
        }
        order = min(chains, key=chains.get)
        net = CharRNN(
            "lstm", 256, 2, batch_size=64, dropout=0.3, max_iter=1 if settings.quick else 15,
            random_state=0,
        ).fit(train)  # fmt: skip
        loss = -net.score(test)
        better = chains[order] - loss
        name = f"{name}, dropout 0.3, 15 epochs ({loss:.4f} nats; chain {chains[order]:.4f})"
    yield Row(ACCURACY, name, f"Markov chain of order {order if play else 'k'}", better, 0, " nats")
    if play is not None:  # below the table, since this is its last row
        print("", net.sample(500, "\n", temperature=0.8, random_state=0), sep="\n")
