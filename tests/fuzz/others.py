"""Programs with texts and sequences, threads, files of weights, and caches of kernels."""

from .programs import answers, fit, method_of
from .values import BOUNDED, DTYPES, ESTIMATORS, ODD, TEXTS, new, some_X, some_y

_SEQUENCES = """
np.empty(0) [] [[]] [[],[]] [[1.0],[]] [np.empty(0),np.ones(3)] [[1,2],[3]] [[1,2],[3,4]]
[np.ones((3,2)),np.ones((2,3))] [np.ones((3,2)),np.ones(2)] [np.ones((2,2,2))] np.empty((3,0))
np.empty((0,3)) np.empty((3,0,2)) np.empty((3,2,0)) [[0],[1,2,3]] [None] [3] ['a'] [['a']]
ragged([1,5,2,9]) ragged([3,3,3],2) ragged([2,4,1],2,dtype='float32') steps(4,3,2)
np.array([np.ones(2),np.ones(3)],object) [[2**70,1]] [[2**24]] [[-1,0]] [range(3),range(2)]
[np.ones(3,'>f4'),np.ones(2)] [np.ones(300)] [np.ones(3)*1e39] steps(1,1,1) [[1e308,1e308],[1]]
[[np.nan]] table(4,5,'uint8')
[sparse(table(3,2)),sparse(table(2,2))] [np.ones(2,'longdouble')] [np.ma.ones(3),np.ones(2)]
""".split()
_LENGTHS = """
np.array([3,2**63+5],np.uint64) [3,2**40] np.array([3,2**62]) [0,1] [-1,2] [3] [1.5,2]  None 3 2**40
-1 0 'a' [3,3] np.array([2,3],np.int8) np.array([100,100],np.int8) [] [[2,3]] [True,True] [np.nan,1]
np.array([2.0,3.0]) np.array([2**63,2**63],np.uint64) [2**70,1]
""".split()


def texts(random):
    """Return a program with texts or sequences."""
    if random.random() < 0.45:
        return _sequences(random)
    name = random.choice(["CharMarkovChain", "CharRNN", "Seq2SeqRNN"])
    est = new(random, name, random.choice([0, 1, 2]))
    if random.random() < 0.3:
        key = "order" if name == "CharMarkovChain" else "n_layers"
        more = f"{key}={random.choice(ODD)}, random_state="
        est = new(random, name).replace("random_state=", more)
        est = est.replace("(2, order", "(order")
    lines = [
        f"est = {est}", f"X0 = {some_X(random, name, odd=0.4)}",
        f"y0 = {some_y(random, name, odd=0.2)}", fit(name),
    ]  # fmt: skip
    if random.random() < 0.2:
        lines.append(fit(name, method="partial_fit"))
    lines += answers(random, name, "X0", most=2)
    lines += [f"X1 = {random.choice(TEXTS)}", *answers(random, name, "X1", most=2)]
    n, prime = random.choice(BOUNDED), random.choice([*TEXTS, '"ab"', '"ab"'])
    more = [
        f"est.beam_search({n}, {prime}, {random.choice(ODD)})", "est.beam_search(9)",
        f"est.sample({n}, {prime}, random_state=0)", "est.sample(20, random_state=1)",
        f"est.sample(9, temperature={random.choice(ODD)}, top_k={random.choice(ODD)}, "
        "random_state=0)",
        f"est.transition_matrix({random.choice(ODD)})", "est.perplexity(X1)", "est.score(X0)",
    ]  # fmt: skip
    if name == "Seq2SeqRNN":
        more = [f"est.set_params(beam_width={random.choice(ODD)})", "est.predict(X0)",
                f"est.set_params(max_length={random.choice(BOUNDED)})", "est.predict(X0)",
                "est.score_samples(X0, y0)", "est.score(X0, y0)"]
        return lines + more
    return lines + random.sample(more, 3)


def _sequences(random):
    name = random.choice(["RNNClassifier", "RNNRegressor", "SequenceAutoencoderTransformer"])
    X = random.choice(_SEQUENCES) if random.random() < 0.6 else some_X(random, name, 2)
    targets = {"classes": "np.arange(len(X0)) % 2", "numbers": "table(len(X0), 1)", None: "None"}
    each_step = "[np.arange(len(x)) % 2 for x in X0]"
    est = new(random, name, random.choice([0, 0, 1]))
    if random.random() < 0.2:
        est = est.replace(", max_iter", f", mask_value={random.choice(ODD)}, max_iter")
    if random.random() < 0.2 and name.startswith("RNN"):
        est = est.replace(", max_iter", f", embedding={random.choice(['3', *ODD])}, max_iter")
    y = targets[ESTIMATORS[name][2]]
    if random.random() < 0.3 and name.startswith("RNN"):
        est = est.replace(", max_iter", ", return_sequences=True, max_iter")
        y = random.choice([each_step, each_step, y, "np.empty(0)"])
    lines = [f"est = {est}", f"X0 = {X}", f"y0 = {y}", fit(name), *answers(random, name, "X0")]
    lines += [f"X1 = {random.choice(_SEQUENCES)}", *answers(random, name, "X1", most=2)]
    if ESTIMATORS[name][2] is None:
        lines += ["codes = est.transform(X0)",
                  f"est.inverse_transform(codes[:2], lengths={random.choice(_LENGTHS)})"]
    return lines


# --- several things at once


def _quick(random):
    others = {"CharMarkovChain", "ConvNetTransformer", "ReconstructionOutlierDetector"}
    return random.choice(sorted(set(ESTIMATORS) - others))


def _fits(random, name):
    """Return the texts of data of two widths, with targets of two kinds."""
    pairs = []
    for n, width in ((12, 5), (24, random.choice([3, 5, 9]))):
        X = some_X(random, name, n, width=width)
        y = {"classes": f"np.arange({n}) % {len(pairs) + 2}", "numbers": f"table({n}, 1)[:, 0]",
             "text": '"cba"', None: "None"}[ESTIMATORS[name][2]]  # fmt: skip
        if ESTIMATORS[name][2] == "classes" and pairs and random.random() < 0.5:
            y = "np.array(list('abcd' * 6))"
        if ESTIMATORS[name][2] == "text":
            X = '"abcab"' if not pairs else '"xyzzyx"'
        pairs.append(f"({X}, {y})")
    return f"[{', '.join(pairs)}]"


def threads(random):
    """Return a program that does several things at once."""
    what = random.choice(
        ["predict_beside_refits", "predict_in_callbacks", "fit_in_threads", "fork"]
    )
    if what == "fork":
        busy = random.choice([
            "MLPNetClassifier((64,), max_iter=30, n_jobs=2, random_state=0)",
            "MLPNetClassifier((64,), solver='lbfgs', n_jobs=2, max_iter=30, random_state=0)",
            "RBFNetClassifier(20, n_jobs=2, random_state=0)",
            "RBFNetClassifier(20, solver='sgd', n_jobs=2, max_iter=5, random_state=0)",
        ])  # fmt: skip
        net = random.choice([
            "MLPNetClassifier((5,), max_iter=2, n_jobs=2, random_state=0)",
            "MLPNetClassifier((5,), solver='lbfgs', n_jobs=2, max_iter=2, random_state=0)",
            "RBFNetClassifier(3, n_jobs=2, random_state=0)", busy,
        ])  # fmt: skip
        n = random.choice([40, 400])
        return [f"fork_while_fitting({busy}, {net}, table({n}, 6), np.arange({n}) % 3)"]
    name = _quick(random)
    if what == "fit_in_threads":
        nets = [new(random, name).replace("JOBS", str(jobs)) for jobs in (1, 2, 2)]
        target = some_y(random, name)
        data = f"{some_X(random, name)}, {target}"
        return [f"fit_in_threads([{', '.join(nets)}], {data}, {_method(random, name)!r})"]
    net = new(random, name).replace("JOBS", random.choice("12"))
    return [f"{what}({net}, {_fits(random, name)}, {_method(random, name)!r})"]


def _method(random, name):
    return method_of(answers(random, name, "X", most=1)[0])


# --- files


def _change(random):
    what = random.choice(["flip", "flip", "truncate", "insert", "overwrite"])
    # headers are short, and what is wrong in them does most
    where = round(random.choice([random.random() ** 4, random.random()]), 4)
    given = random.choice([
        bytes([2 ** random.randrange(8)]), bytes([2 ** random.randrange(8)]), b"\xff" * 8,
        b"\0" * 8, b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"9", b"-", b'"', b"F16", b"[0,99]", b"}",
    ])  # fmt: skip
    return what, where, given


def weights(random):
    """Return a program that loads a damaged file of weights."""
    dtype = random.choice(DTYPES)
    layers = random.choice(["Conv2D(2, 3), BatchNormalization(), Dense(3)", "Dense(4), Dense(3)"])
    net = random.choice(["ConvNetClassifier", "ConvNetRegressor"])
    y = "np.arange(12) % 3" if net == "ConvNetClassifier" else "table(12, 3)"
    changes = [_change(random) for _ in range(random.choice([1, 1, 1, 2, 4]))]
    return [
        f"X0 = images(12, 4, 4, dtype={dtype!r})",
        f"est = {net}([{layers}], (4, 4), max_iter=1, random_state=0, n_jobs=JOBS)",
        f"est.fit(X0, {y})",
        "before = copy.copy(est)",
        "path = weights_file(est)",
        f"damage(path, {changes})",
        "est.load_weights(path)",
        "same_shapes(est, before)",
        "est.predict(X0)",
    ]


def kernels(random):
    """Return a program that damages a cache of kernels."""
    changes = []
    for _ in range(random.choice([1, 1, 2, 6])):
        what, where, given = _change(random)
        what = random.choice([what, what, "swap", "delete"])
        changes.append((what, round(random.random() * 0.999, 3), where, given))
    return [f"kernels_after({changes})"]
