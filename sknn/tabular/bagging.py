"""Bagging: a network for each fold of a cross-validation, trained side by side."""

from dataclasses import replace

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from ..engine.side_by_side import fit_side_by_side
from ..engine.training import noise_seed
from ..estimator.callbacks import as_committed
from ..estimator.net import trainer_of
from ..estimator.scoring import score_of


def check_bag(net, held, resume_from):
    """Raise ValueError if the parameters of a fit are not for several networks."""
    for name, given, expected in (
        ("warm_start", net.warm_start, "False"),
        ("X_val", held, "None: each network is validated on its fold"),
        ("resume_from", resume_from is not None, "None"),
        ("callbacks", bool(getattr(net, "_skl_callbacks", ())), "none, as there is no one network"),
    ):
        if given:
            raise ValueError(f"{name} was given together with cv={net.cv!r}; expected {expected}.")


def train_bag(net, job):
    """Train a network for each fold, and store them on the estimator; return it."""
    job.recipe = replace(job.recipe, verbose=net.verbose)
    jobs, members, begins = [], [], []
    for train, held in _folds(net, job):
        seed = int(job.random_state.randint(2**31 - 1))
        generator = np.random.RandomState(seed)
        one = replace(
            job, data=job.data.part(train), random_state=generator, seed=noise_seed(generator),
            held=job.data.part(held) if net.early_stopping else None, attributes={}, progress=None,
        )  # fmt: skip
        member = as_committed(net, lambda other: None)
        member.cv, member.random_state = None, seed
        one.start(member)
        one.adapt_first_values(member)
        one.score = score_of(net, one, one.task.score, *one.given_data)
        jobs.append(one)
        members.append(member)
        begins.append(one.progress.values)
    fit_side_by_side([trainer_of(one) for one in jobs], job.epochs)
    for one, member, begin in zip(jobs, members, begins, strict=True):
        one.attributes = job.attributes | one.attributes
        member._after_training(one)
        member._check_outcome(one, begin)
        member._commit(one, one.progress)
    job.held = jobs[0].held
    net._commit(job, _mean(job, [one.progress for one in jobs]))
    net.estimators_ = members
    epochs = [member.best_iter_ for member in members]
    net.best_iter_ = None if None in epochs else int(np.median(epochs))
    return net


def _folds(net, job):
    """Return pairs of positions in the data: those to train on, and those of the fold."""
    data = job.data
    labels = job.task.stratify(data, job.network.outputs) if net._classifies else None
    if isinstance(net.cv, (int, np.integer)):
        n, least = int(net.cv), 0
        if labels is not None:
            least = np.unique(labels, return_counts=True)[1].min()
        kind = StratifiedKFold if least >= n else KFold
        cv = kind(n, shuffle=True, random_state=job.random_state)
    else:
        cv = check_cv(net.cv, labels, classifier=labels is not None)
    rows = np.zeros((len(data.rows), 1))
    folds = [tuple(map(np.asarray, pair)) for pair in cv.split(rows, labels)]
    for pair in folds:
        for some in pair:
            fine = some.ndim == 1 and some.dtype.kind in "iu" and some.size
            if not fine or some.min() < 0 or some.max() >= len(rows):
                raise ValueError(
                    f"cv={net.cv!r} gives {some!r:.200}; expected numbers of rows, of "
                    f"{len(rows)}."
                )
    if not folds:
        raise ValueError(f"cv={net.cv!r} gives no folds; expected one or more.")
    return folds


def _mean(job, all_progress):
    """Return a Progress with the means of the curves of all networks, and the first's weights."""
    first = all_progress[0]
    epochs = min(one.n_iter for one in all_progress)

    def mean(name):
        curves = [getattr(one, name)[:epochs] for one in all_progress]
        return [] if not curves[0] else np.mean(curves, axis=0).tolist()

    curves = ("loss_curve", "validation_scores", "validation_loss_curve")
    return first.copy(
        n_iter=epochs,
        loss=float(np.mean([one.loss for one in all_progress])),
        best_loss=float(np.mean([one.best_loss for one in all_progress])),
        best_validation_score=float(np.mean([one.best_validation_score for one in all_progress])),
        learning_rate_curve=first.learning_rate_curve[:epochs],
        **{name: mean(name) for name in curves},
    )
