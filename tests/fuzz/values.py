"""Values as text: parameters of estimators, and data of every kind."""

import ast
from functools import cache

import numpy as np  # noqa: F401, for the values
from sklearn.utils._param_validation import StrOptions, make_constraint

import sknn

#: Values that some parameters cannot handle.
ODD = """
2**31 2**32+1 2**40 2**62 2**63 2**70 -2**63 -1 0 1 2 3 np.int8(100) np.uint8(3) np.int64(2)
np.float16(0.5) np.float32(1) np.float64(0.25) True False np.True_ float('nan') float('inf')
-float('inf') None 'a' '' b'a' [] () {} [3] (2,3) [3,3] (np.int8(3),) [2**40] [[4]] (3,-1) (0.5,0.5)
np.array([2,3]) np.array(3) np.zeros(0) [None] ['relu'] ['tanh','relu'] {0:1.0} {1:2.5} {'a':1}
range(3) {3} object() 0.1 0.5 0.9 1.0 2.0 1e-8 1e-320 1e5 1e38 1e300 5j 'balanced' 'float16'
""".split()

#: Those that a user who means them will not wait for in vain.
BOUNDED = [text for text in ODD if not text.startswith(("2**", "1e"))] + ["2**70", "1e300"]

#: A program with one of these asks for much, and may be told that there is not so much memory.
HUGE = ("2**3", "2**4", "2**6", "2**7", "1e", "0_000")

#: Where a large number only means to go on for long.
_LONG = ("max_iter", "max_fun", "pretrain_epochs", "sample_chars", "n_iter_no_change", "max_length")

#: For each estimator: what makes it small, what its X is, and what its y is.
ESTIMATORS = {
    "AutoencoderTransformer": ("(3,)", "table", None),
    "CharMarkovChain": ("2", "text", None),
    "CharRNN": ("'gru', 4, seq_len=8, batch_size=4", "text", None),
    "ConvAutoencoderTransformer": (
        "[Conv2D(3, 3, padding='same'), Flatten(), Dense(4)], "
        "[Dense(36), Reshape((6, 6, 1)), Conv2D(1, 3, padding='same')], (6, 6)",
        "image", None,
    ),
    "ConvNetClassifier": (
        "[Conv2D(3, 3, activation='relu'), MaxPooling2D(2)], (6, 6)", "image", "classes",
    ),
    "ConvNetRegressor": ("[Conv2D(3, 3), BatchNormalization()], (6, 6)", "image", "numbers"),
    "ConvNetTransformer": (
        "ConvNetClassifier([Conv2D(3, 3, activation='relu')], (6, 6), max_iter=2, "
        "random_state=0, n_jobs=JOBS)",
        "image", "classes",
    ),
    "MLPNet": ("hidden_layer_sizes=(5,)", "table", "classes"),
    "MLPNetClassifier": ("(5,)", "table", "classes"),
    "MLPNetRegressor": ("hidden_layer_sizes=(5, 4)", "table", "numbers"),
    "PerceptronClassifier": ("", "table", "classes"),
    "RBFNetClassifier": ("3", "table", "classes"),
    "RBFNetRegressor": ("3", "table", "numbers"),
    "ReconstructionOutlierDetector": (
        "AutoencoderTransformer((3,), max_iter=2, random_state=0, n_jobs=JOBS)", "table", None,
    ),
    "RNNClassifier": ("'lstm', 4", "sequence", "classes"),
    "RNNRegressor": ("'gru', 4", "sequence", "numbers"),
    "Seq2SeqRNN": ("'gru', 4, batch_size=4", "text", "text"),
    "SequenceAutoencoderTransformer": ("3, 'rnn'", "sequence", None),
    "TabularNetClassifier": ("(5,), categorical_features=[0]", "table", "classes"),
    "TabularNetRegressor": ("(5,), n_ensemble=2", "table", "numbers"),
    "VariationalAutoencoderTransformer": ("2, (5,)", "table", None),
}  # fmt: skip

DTYPES = ["float64", "float32"]
_ODD_DTYPES = """
bool int8 uint8 int16 int32 uint32 int64 uint64 float16 float32 float64 longdouble >f4 >f8 >i4
object complex64 U3 S3 datetime64[s]
""".split()
_LAYOUTS = """
C F strided negative readonly broadcast unaligned memmap list matrix masked frame series
""".split()
_FORMS = [f"{form}_{kind}" for form in "csr csc coo bsr dia lil dok".split()
          for kind in ("array", "matrix")]  # fmt: skip
_PUT = ["1e30", "1e39", "-1e308", "np.nan", "np.inf", "1e-310", "-1", "2**24", "2**31", "2**62"]
TEXTS = """
"abcab" "a" "" [] [""] ["abc",""] ["ab","ba","abc"] ("ab","a") np.array(["ab","a"]) ["ab",None]
["ab",3] b"ab" [b"ab"] "\\ud800a" "a\\x00b" "\\U0001f600a" "ab"*300 [["ab"],["a"]] 3 None
np.array([["ab"]]) np.array(["ab","a"],object) {"a":1} np.array("ab") ["a"]*40
""".split()


def new(random, name, n_odd=0):
    """Return the text of a small estimator; some of its parameters are anything."""
    given, _, _ = ESTIMATORS[name]
    cls = getattr(sknn, name)
    keywords = {}
    known = cls._parameter_constraints
    for key, text in (("max_iter", "2"), ("random_state", "0"), ("n_jobs", "JOBS")):
        if key in known:
            keywords[key] = text
    if random.random() < 0.5 and "dtype" in known:
        keywords["dtype"] = repr(random.choice(DTYPES))
    for key in random.sample(sorted(known), min(n_odd, len(known))):
        if key not in ("n_jobs", "net", "autoencoder"):
            keywords[key] = parameter(random, cls, key)
    # what is given by position or name already gives way
    positional = list(known)[: _positional(given)]
    keywords = {k: v for k, v in keywords.items() if k not in positional}
    given = [given] if given and not any(f"{k}=" in given for k in keywords) else []
    return f"{name}({', '.join(given + [f'{k}={v}' for k, v in keywords.items()])})"


@cache
def _positional(given):
    return len(ast.parse(f"f({given})", mode="eval").body.args)


def parameter(random, cls, key):
    """Return the text of a value of a parameter: a valid one half the time."""
    values = _valid(cls, key) if random.random() < 0.7 else ODD
    text = random.choice(values or ODD)
    return "3" if key in _LONG and _is_large(text) else text


def _is_large(text):
    value = eval(text)
    return isinstance(value, (int, float, np.number)) and value > 300


@cache
def _valid(cls, key):
    """Return the texts of valid values."""
    constraints = [make_constraint(one) for one in cls._parameter_constraints[key]]
    words = [repr(word) for one in constraints if isinstance(one, StrOptions)
             for word in sorted(one.options)]  # fmt: skip
    if key == "scoring" and not words:  # any str is one as far as constraints go
        words = [repr(word) for word in ("loss", "accuracy", "r2", "neg_log_loss", "roc_auc_ovr")]
    values = [text for text in ODD if any(one.is_satisfied_by(eval(text)) for one in constraints)]
    return [word for word in words if word not in ("'vgg16'", "'vgg19'")] + values


def some_X(random, name, n=12, odd=0.0, width=None):
    """Return the text of data for an estimator; with probability `odd` it is flawed."""
    kind = ESTIMATORS[name][1]
    dtype = random.choice(DTYPES)
    if kind == "text":
        texts = TEXTS if random.random() < odd else ['["abcab", "ba", "cab"]', '"abcabcab"']
        return random.choice(texts)
    if random.random() < odd:
        return _odd_table(random, n, {"image": 36}.get(kind, 5))
    fine = f"dtype={dtype!r}, seed={random.randrange(3)}"
    if kind == "image" and random.random() < 0.5:
        return f"images({n}, 6, 6, {fine})"
    if kind == "sequence" and random.random() < 0.5:
        if random.random() < 0.3:
            return f"steps({n}, 5, 2, {fine})"
        return f"ragged({[random.randint(1, 6) for _ in range(n)]}, {fine})"
    return f"table({n}, {width or {'image': 36}.get(kind, 5)}, {fine})"


def _odd_table(random, n, width):
    n = random.choice([0, 1, 2, n, n, n, n])
    width = random.choice([0, 1, width + 1, width, width, width, width])
    dtype = random.choice(_ODD_DTYPES)
    put = random.choice(_PUT) if random.random() < 0.4 else "None"
    numeric = dtype[0] in "fl>" and dtype not in ("float16", ">i4")
    text = f"table({n}, {width}, {dtype!r}, {random.choice(_LAYOUTS)!r}"
    text += f", put={put})" if numeric or put in ("-1", "1e30") and dtype == "object" else ")"
    if random.random() < 0.4:
        form = random.choice(_FORMS)
        # the first rows of such a table are numbers, which a sparse matrix can be made of
        text = f"table({n}, {width}, {random.choice(_ODD_DTYPES[:13])!r})"
        text = f"sparse({text}, {form!r}, {random.choice(['int32', 'int64'])!r})"
        if random.random() < 0.5 and form[:3] in ("csr", "csc", "bsr", "coo"):
            part = random.choice(["row", "col"] if form[:3] == "coo" else ["indices", "indptr"])
            value = random.choice(["-1", str(width), "100000", "2**30", "2**31-1", "-2**31"])
            place = random.choice([0, 1, -1, -2])
            damaged = f"corrupted({text}, {part!r}, {place}, {value})"
            short = f"shortened({text}, {random.choice([part, 'data'])!r})"
            text = random.choice([damaged, damaged, short])
    return text


def some_y(random, name, n=12, odd=0.0):
    """Return the text of targets, or None where an estimator takes none."""
    kind = ESTIMATORS[name][2]
    if kind is None:
        return None
    if random.random() < odd:
        texts = [
            "None", "np.zeros(0)", f"np.arange({n})", f"np.zeros({n})", f"np.arange({n + 1}) % 3",
            f"np.full({n}, np.nan)", f"np.array(['a', None] * {n // 2}, object)", "3", "'abc'",
            f"np.arange({n})[:, None] % 3", f"table({n}, 2)", f"table({n}, 3) > 0",
            f"np.full({n}, 2**63 + 5, np.uint64)", f"np.full({n}, 1e39)", f"np.full({n}, -1e308)",
            f"['x', 'y', ''] * {n // 3}", f"images({n}, 2, 2)", f"table({n}, 1, 'float16')[:, 0]",
            f"table({n}, 1, 'longdouble')", f"sparse(table({n}, 3, 'uint8') > 3)",
            f"np.arange({n}) % 2 > 0", f"table({n}, 0)", f"[[1, 0], [0]] * {n // 2}",
        ]  # fmt: skip
        return random.choice([*texts, *TEXTS] if kind == "text" else texts)
    if kind == "text":
        return random.choice(['["b", "a", "bc"]', '"cba"'])
    if kind == "numbers":
        dtype = random.choice(DTYPES)
        outputs = [f"table({n}, 1, {dtype!r})[:, 0]", f"table({n}, 2, {dtype!r})"]
        return random.choice(outputs)
    classes = [f"np.arange({n}) % {k}" for k in (2, 3, 4)]
    return random.choice([*classes, f"np.array(['a', 'bb', 'c'] * {n // 3})", f"table({n}, 2) > 0"])
