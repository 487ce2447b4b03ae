"""Programs with estimators: any parameters and any data, and calls in any order."""

import re
from functools import cache

import sknn

from .values import BOUNDED, DTYPES, ESTIMATORS, ODD, TEXTS, new, parameter, some_X, some_y

#: Methods that answer for each sample, whatever samples are beside it.
ANSWERS = """
predict predict_proba predict_log_proba decision_function transform reconstruct score_samples
""".split()

_REPLACEMENTS = """
np.zeros((3,4)) np.zeros((5,5)) np.zeros(5) np.zeros((30_000_000,1)) np.ones((5,5),'float32')
np.full((5,5),np.nan) np.zeros((5,5),'int8') np.zeros((5,5),object) np.zeros(0) np.zeros((2,2,2))
np.asfortranarray(np.ones((5,5))) np.ones((10,10))[::2,::2] [[1.0]] None 'a' 0 7 2**40 -1 0.5 []
np.arange(3) np.arange(9) np.array(['a','b']) (3,3) (6,6,2) table(5,5,'>f8') table(5,5,'float16')
""".split()


def answers(random, name, X, among=ANSWERS, most=3):
    """Return lines that call methods of an estimator which answer for each sample."""
    cls = getattr(sknn, name)
    methods = [method for method in among if hasattr(cls, method)]
    lines = [f"est.{method}({X})" for method in random.sample(methods, min(most, len(methods)))]
    if "est.transform(X0)" in lines and hasattr(cls, "inverse_transform"):
        lines += ["codes = est.transform(X0)", "est.inverse_transform(codes)"]
    return lines


def method_of(line):
    """Return the name of the method of ``est`` that a line calls, or the line."""
    found = re.search(r"est\.(\w+)", line)
    return found.group(1) if found else line


def fit(name, X="X0", y="y0", method="fit", more=""):
    """Return the text of a fit."""
    return f"est.{method}({X}{f', {y}' if ESTIMATORS[name][2] else ''}{more})"


def estimators(random):
    """Return a program with any parameters, any data to fit to, or any data to predict for.

    Rarely all of them: where the fit fails, nothing after it is tested.
    """
    name = random.choice(sorted(ESTIMATORS))
    n = random.choice([12, 12, 12, 36, 1, 2])
    what = random.choice(["parameters", "parameters", "X", "y", "more", "X1", "X1", "all"])
    n_odd = random.choice([1, 1, 2, 3]) if what in ("parameters", "all") else 0
    lines = [
        f"est = {new(random, name, n_odd)}",
        f"X0 = {some_X(random, name, n, what in ('X', 'all'))}",
        f"y0 = {some_y(random, name, n, what in ('y', 'all'))}",
    ]
    more = ""
    if what == "more" and random.random() < 0.5 and ESTIMATORS[name][1] != "text":
        weights = [f"np.ones({n})", f"np.arange({n})", f"np.zeros({n})", f"np.full({n}, 1e300)",
                   f"table({n}, 1)", "np.ones(3)", "2**70", "'a'", f"np.full({n}, np.nan)"]
        more = f", sample_weight={random.choice(weights)}"
    elif what == "more" and name != "CharMarkovChain":
        more = f", X_val={some_X(random, name, n, 0.5)}"
        if ESTIMATORS[name][2]:
            more += f", y_val={some_y(random, name, n, 0.3)}"
    lines.append(fit(name, method=random.choice(["fit", "fit", "fit", "partial_fit"]), more=more))
    if lines[-1].startswith("est.partial_fit") and ESTIMATORS[name][2] == "classes":
        lines[-1] = lines[-1][:-1] + ", classes=np.unique(y0))"
    lines += answers(random, name, "X0")
    if what in ("X1", "all"):
        lines += [f"X1 = {some_X(random, name, n, 1.0)}", *answers(random, name, "X1", most=2)]
    return lines


def calls(random):
    """Return a program that calls an estimator's methods in any order."""
    name = random.choice(sorted(ESTIMATORS))
    cls = getattr(sknn, name)
    lines = [f"est = {new(random, name)}"]
    for i, width in enumerate((None, random.choice([None, 4, 7]))):
        lines.append(f"X{i} = {some_X(random, name, random.choice([9, 12]), 0.0, width)}")
        y = some_y(random, name, 12)
        lines.append(f"y{i} = {y and f'({y})[:len(X{i})]'}")
    lines.append(fit(name))
    for _ in range(random.randint(2, 7)):
        i = random.randrange(2)
        write = random.choice(
            [_refit, _refit, _set, _overwrite, _copy, _predict, _predict, _more]
        )
        lines += write(random, name, cls, i)
    return lines + answers(random, name, "X0")


def _refit(random, name, cls, i):
    y = random.choice([i, i, i, 1 - i])
    methods = [m for m in ("fit", "fit", "partial_fit", "fit_transform") if hasattr(cls, m)]
    return [fit(name, f"X{i}", f"y{y}", random.choice(methods))]


def _set(random, name, cls, i):
    keys = sorted(set(cls._parameter_constraints) - {"n_jobs", "net", "autoencoder"})
    key = random.choice([*keys, "warm_start", "warm_start", "dtype", "nothing"])
    if key == "dtype" and random.random() < 0.7:
        value = repr(random.choice(DTYPES))
    elif key == "warm_start":
        value = "True"
    else:
        value = parameter(random, cls, key) if key in keys else random.choice(ODD)
    return [f"est.set_params({key}={value})"]


def _overwrite(random, name, cls, i):
    attribute = random.choice(_attributes(cls))
    if attribute in ("coefs_", "intercepts_", "counts_", "layers_") and random.random() < 0.8:
        attribute += random.choice(["[0]", "[-1]"])
    return [f"est.{attribute} = {random.choice(_REPLACEMENTS)}", *_predict(random, name, cls, i)]


@cache
def _attributes(cls):
    """Return the names of fitted attributes that the documentation knows."""
    rows = re.findall(r"^((?:\w+_(?:, )?)+)(?: :|$)", cls.__doc__, re.MULTILINE)
    return sorted(", ".join(rows).split(", "))


def _copy(random, name, cls, i):
    how = ["clone(est)", "pickle.loads(pickle.dumps(est))", "copy.deepcopy(est)", "copy.copy(est)"]
    return [f"est = {random.choice(how)}"]


def _predict(random, name, cls, i):
    return answers(random, name, f"X{i}", most=1)


def _more(random, name, cls, i):
    """Return a call of one of the other methods."""
    paths = """'.' '' '/' '/none/a' b'a' None 3 'a\\0b' pathlib.Path('/dev/full') '/dev/null'
    'x'*5000 '\\ud800' 'file' weights_file(est) '/dev/zero'""".split()
    lines = ["est.summary()", "est.history_", "est.get_feature_names_out()", "est.weights_"]
    lines += [f"est.score(X{i}{f', y{i}' if ESTIMATORS[name][2] else ''})"]
    lines += [f"est.{kind}_weights({random.choice(paths)})" for kind in ("load", "save")]
    lines += [f"est.inverse_transform({some_X(random, name, 9, 0.7)})"]
    lines += [f"twice_coded(est, X{i})", "est.to_classifier()"]
    lines += [f"est.embedding({random.choice(TEXTS)})", f"est.sample({random.choice(BOUNDED)})"]
    known = [line for line in lines if "twice" in line or hasattr(cls, method_of(line))]
    return [random.choice(known)]
