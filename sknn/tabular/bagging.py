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
    (X, y, _), n_rows = job.given_data[0], len(job.data.rows)
    if isinstance(net.cv, (int, np.integer)):
        labels, kind = job.data.y, KFold
        if net._classifies and labels[0].size == 1:  # else they are labels in columns
            labels = labels.ravel()
            if np.unique(labels, return_counts=True)[1].max() >= net.cv:
                kind = StratifiedKFold
        cv = kind(int(net.cv), shuffle=True, random_state=job.random_state)
        pairs = cv.split(np.zeros(n_rows), labels)
    else:
        pairs = check_cv(net.cv).split(X, y)
    folds = [tuple(map(np.asarray, pair)) for pair in pairs]
    for pair in folds:
        for some in pair:
            fine = some.ndim == 1 and some.dtype.kind in "iu" and some.size
            if not fine or some.min() < 0 or some.max() >= n_rows:
                raise ValueError(
                    f"cv={net.cv!r:.200} gives {some!r:.200}; expected numbers of rows, of "
                    f"{n_rows}."
                )
    small = min((len(held) for _, held in folds), default=2)
    if small < 2 and net.early_stopping:
        raise ValueError(
            f"cv={net.cv!r:.200} gives a fold of {small} row; expected 2 or more, which the epoch "
            "is chosen on."
        )
    if not folds:
        raise ValueError(f"cv={net.cv!r:.200} gives no folds; expected one or more.")
    return folds


def _mean(job, all_progress):
    """Return a Progress with the means of the curves of all networks, and the first's weights."""
    first = all_progress[0]
    epochs = min(one.n_iter for one in all_progress)

    def mean(name):
        # after an interrupt, some may not have been validated as often as others
        each = zip(*(getattr(one, name)[:epochs] for one in all_progress))
        return [float(np.mean(values)) for values in each]

    losses = [one.loss for one in all_progress]
    curves = ("loss_curve", "validation_scores", "validation_loss_curve")
    return first.copy(
        n_iter=epochs,
        loss=None if None in losses else float(np.mean(losses)),  # None: interrupted before
        best_loss=float(np.mean([one.best_loss for one in all_progress])),
        best_validation_score=float(np.mean([one.best_validation_score for one in all_progress])),
        learning_rate_curve=first.learning_rate_curve[:epochs],
        **{name: mean(name) for name in curves},
    )
