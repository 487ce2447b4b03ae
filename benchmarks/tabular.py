"""Networks for tables: times of epochs, and ranks on sets of data that lie in a folder.

RealMLP and TabM are those of pytabkit, on PyTorch; RealMLP is also measured in a plain loop.
"""

import importlib.util
import logging
from functools import cache, partial
from statistics import median

import joblib
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sknn

from .peers import torch
from .table import Row, Task
from .timing import Side, seconds

SPEED, ACCURACY = "tabular-speed", "tabular-accuracy"

_PYTABKIT = torch is not None and importlib.util.find_spec("pytabkit") is not None

#: Numbers of categories of the columns of an adult-like table.
COUNTS = (8, 16, 7, 14, 6, 5, 2, 40)
#: Rows, columns of numbers, numbers of categories, and whether there are classes.
TABLES = {
    "16,000 rows, 6 numbers, 8 categories": (16_000, 6, COUNTS, True),
    "16,512 rows, 8 numbers": (16_512, 8, (), False),
}
#: Epochs of a short and a long fit, whose difference counts.
EPOCHS, ENSEMBLE_EPOCHS = (1, 9), (1, 2)
BATCH_SIZE, MEMBERS, UNITS = 256, 32, (512, 512, 512)
#: Fewer positives than this share: a set is ranked by the area under the ROC curve.
_RARE = 0.1


def tasks():
    """List the measurements of networks for tables."""
    for data in TABLES:
        name = f"epoch of RealMLP, {data}"
        yield Task(SPEED, name, partial(_epoch, name, data))
        name = f"epoch of {MEMBERS} members, {data}"
        yield Task(SPEED, name, partial(_epoch_of_members, name, data))
    yield Task(ACCURACY, "ranks", _ranks)


# --- times


def table(name, rows=None):
    """Return a table of random numbers and categories, a target, and whether that is of classes."""
    usual, numbers, counts, classes = TABLES[name]
    rows = rows or usual
    random = np.random.RandomState(0)
    X = pd.DataFrame(random.normal(size=(rows, numbers))).add_prefix("number_")
    for i, count in enumerate(counts):
        X[f"kind_{i}"] = pd.Categorical(random.randint(count, size=rows).astype(str))
    y = np.sin(X["number_0"]) + X["number_1"] * X["number_2"] + 0.5 * random.normal(size=rows)
    return X, (np.asarray(y > 0.5).astype(int) if classes else y.to_numpy()), classes


def ours(classes):
    """Return the class of our estimator."""
    return sknn.TabularNetClassifier if classes else sknn.TabularNetRegressor


def _theirs(name, classes, **parameters):
    """Return an estimator of pytabkit."""
    import pytabkit

    for package in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(package).setLevel(logging.ERROR)
    cls = getattr(pytabkit, f"{name}_{'Classifier' if classes else 'Regressor'}")
    return cls(device="cpu", n_threads=joblib.cpu_count(), random_state=0, **parameters)


def _categorical(X):
    return [name for name in X.columns if X[name].dtype == "category"]


def _seconds_of_epochs(sides, epochs, settings):
    """Return the median time of an epoch for functions that fit for some epochs.

    It is the difference of two fits, so that all that is done once does not count.
    """
    first, last = (0, 1) if settings.quick else epochs
    times = {name: [] for name in sides}
    for fit in sides.values():
        fit(1)
    for _ in range(settings.repeats):
        for name, fit in sides.items():
            short, long = (seconds(Side(partial(fit, n))) if n else 0.0 for n in (first, last))
            times[name].append((long - short) / (last - first))
    return {name: median(each) for name, each in times.items()}


def _rows_of_times(name, times, targets):
    for peer, target in targets.items():
        ratio = times[peer] / times["sknn"] if peer in times else None
        shown = f" ({times[peer]:.3g} s, sknn {times['sknn']:.3g} s)" if peer in times else ""
        yield Row(SPEED, name + shown, peer, ratio, target, "x")


def _epoch(name, data, settings):
    X, y, classes = table(data, 700 if settings.quick else None)

    def fit(epochs):
        ours(classes)(max_iter=epochs, batch_size=BATCH_SIZE, random_state=0).fit(X, y)

    def pytabkit(epochs):
        net = _theirs("RealMLP_TD", classes, n_epochs=epochs, batch_size=BATCH_SIZE)
        net.fit(X, y, cat_col_names=_categorical(X))

    sides = {"sknn": fit}
    if _PYTABKIT:
        sides["pytabkit's RealMLP"] = pytabkit
    if torch is not None:
        from . import torch_tabular

        encoded = _encoded(X, y, classes)
        sides["PyTorch, training only"] = partial(_torch_fit, torch_tabular.fit, encoded, classes)
    times = _seconds_of_epochs(sides, EPOCHS, settings)
    targets = {"pytabkit's RealMLP": 4, "PyTorch, training only": None}
    yield from _rows_of_times(name, times, targets)


def _torch_fit(fit, encoded, classes, epochs):
    fit(*encoded, epochs, classes)


def _encoded(X, y, classes):
    """Return the training rows of a table for a plain loop: scaled, one-hot, and numbers."""
    X, y = X[: len(X) * 4 // 5], y[: len(X) * 4 // 5]
    columns, counts, offset = [], [], 0
    hot, coded = [], []
    for name in X.columns:
        if X[name].dtype != "category":
            columns.append(X[name] / X[name].std())
            continue
        codes, count = X[name].cat.codes, len(X[name].cat.categories)
        if count < 9:
            hot += [codes == i for i in range(count)]
        else:
            coded.append(codes + offset)
            counts.append(count)
            offset += count
    values = np.column_stack([*columns, *hot, *coded]).astype(np.float32)
    y = y if classes else ((y - y.mean()) / y.std()).astype(np.float32)
    return torch.from_numpy(values), torch.from_numpy(y), tuple(counts), len(columns)


def _epoch_of_members(name, data, settings):
    X, y, classes = table(data, 700 if settings.quick else None)
    units, members = ((32,) * 3, 4) if settings.quick else (UNITS, MEMBERS)

    def fit(epochs):
        ours(classes)(
            units, n_ensemble=members, activation="relu", parametric_activation=False,
            numeric_embedding=None, input_scale=False, dropout=0.1, batch_size=BATCH_SIZE,
            max_iter=epochs, random_state=0,
        ).fit(X, y)  # fmt: skip

    def pytabkit(epochs):
        net = _theirs(
            "TabM_D", classes, tabm_k=members, d_block=units[0], n_blocks=len(units),
            n_epochs=epochs, patience=epochs, batch_size=BATCH_SIZE,
        )  # fmt: skip
        net.fit(X, y, cat_col_names=_categorical(X))

    sides = {"sknn": fit} | ({"pytabkit's TabM": pytabkit} if _PYTABKIT else {})
    times = _seconds_of_epochs(sides, ENSEMBLE_EPOCHS, settings)
    yield from _rows_of_times(name, times, {"pytabkit's TabM": 3})


# --- accuracy


def _ranks(settings):
    """Compare estimators with their defaults on all sets of the folder, over splits of 80/20."""
    seeds = 1 if settings.quick else 3
    names = list(_models(True, 0, []))
    ranks = []
    for path in sorted(settings.tables.glob("*.csv.gz")):
        classes = "classification" in path.name
        found = {name: [] for name in names}
        for seed in range(seeds):
            for name, value in _scores(path, classes, seed, settings.quick):
                found[name].append(value)
        scores = {name: median(values) for name, values in found.items()}
        ranks.append(rankdata([-value for value in scores.values()]))
        (_, score), *others = scores.items()
        shown = ", ".join(f"{name} {abs(value):.4g}" for name, value in others)
        rows = f"{path.name.split('-')[0]} ({shown})"
        yield Row(ACCURACY, rows, f"{seeds} splits", abs(score), None)
    means = np.mean(ranks, axis=0) if ranks else [None] * len(names)
    shown = ", ".join(f"{name} {mean:.3g}" for name, mean in zip(names[1:], means[1:]) if ranks)
    name = f"mean rank of {len(names)} on {len(ranks)} sets" + (f" ({shown})" if ranks else "")
    best = min(means[1:]) if ranks else None
    yield Row(ACCURACY, name, "the best of the others", means[0], best, at_least=False)


def _models(classes, seed, categorical):
    """Return functions that return estimators and arguments of their fit, by name, ours first."""
    encoder = ColumnTransformer(
        [("categories", OneHotEncoder(handle_unknown="ignore"), categorical)],
        remainder=make_pipeline(SimpleImputer(strategy="median", add_indicator=True),
                                StandardScaler()),
        sparse_threshold=0.0,
    )  # fmt: skip
    if classes:
        perceptron = make_pipeline(encoder, MLPClassifier(random_state=seed))
        boosting = HistGradientBoostingClassifier(random_state=seed)
    else:
        perceptron = TransformedTargetRegressor(
            make_pipeline(encoder, MLPRegressor(random_state=seed)), transformer=StandardScaler()
        )
        boosting = HistGradientBoostingRegressor(random_state=seed)
    models = {
        "sknn": lambda **few: ours(classes)(random_state=seed, **few),
        "MLP": lambda **few: perceptron,
        "boosting": lambda **few: boosting,
    }
    if _PYTABKIT:
        models["RealMLP"] = lambda **few: _theirs("RealMLP_TD", classes)
        models["TabM"] = lambda **few: _theirs("TabM_D", classes)
    return models


@cache
def _read(path):
    table = pd.read_csv(path)
    y = table.pop(table.columns[-1]).to_numpy()
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype("category")
    return table, y


def _scores(path, classes, seed, quick):
    """Yield the name of each estimator, and its score on a test set: higher is better."""
    X, y = _read(path)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.2, random_state=seed, stratify=y if classes else None
    )
    categorical = _categorical(X)
    imputed = X[X.columns.difference(categorical)].median()
    for name, make in _models(classes, seed, categorical).items():
        model, given = make(**({"max_iter": 2} if quick else {})), {}
        rows, test = X, X_test
        if name in ("RealMLP", "TabM"):  # which take no missing numbers
            rows, test = (part.fillna({**imputed}) for part in (X, X_test))
            given["cat_col_names"] = categorical
        if quick and name in ("RealMLP", "TabM"):
            model.set_params(n_epochs=1)
        model.fit(rows, y, **given)
        yield name, _score(model, test, y_test, classes)


def _score(model, X, y, classes):
    if not classes:
        return -root_mean_squared_error(y, np.ravel(model.predict(X)))
    names, counts = np.unique(y, return_counts=True)
    if len(names) == 2 and counts.min() < _RARE * len(y):
        rare = names[counts.argmin()]
        column = list(model.classes_).index(rare)
        return roc_auc_score(y == rare, model.predict_proba(X)[:, column])
    return accuracy_score(y, model.predict(X))
