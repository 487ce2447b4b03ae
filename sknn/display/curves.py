"""Losses, scores and learning rates over the epochs of a fit."""

from collections.abc import Mapping

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .base import Display, check_choice, pyplot, styled, wrong_estimator

_LABELS = {"score": "validation score", "learning_rate": "learning rate", "kl": "KL divergence"}
_VALIDATION = "validation_"
#: Least ratio of the largest to the smallest value that is shown on a logarithmic scale.
_WIDE = 10
#: Ratio from which a learning rate is one that decays to zero by schedule, and is shown linearly.
_TO_ZERO = 1e4
#: The largest such ratio at which 2 and 5 are ticks, beside the powers of ten.
_DECADES = 1000


class LossCurveDisplay(Display):
    """Learning curves over the epochs of a fit: losses, validation score, learning rate.

    Each kind of curve has its own axes, one below the other, with the epochs in common. (The
    score by the number of samples is scikit-learn's
    :class:`~sklearn.model_selection.LearningCurveDisplay`.)

    Parameters
    ----------
    history : DataFrame, or dict of str to array-like of shape (n_epochs,)
        The curves, as in the attribute `history_` of the networks: 'loss', 'validation_loss',
        'validation_score', 'learning_rate' and others. Curves that differ in the prefix
        ``validation_`` only share their axes. The index of a DataFrame holds the epochs; otherwise
        they count from 1.
    best_epoch : int or None, default=None
        The epoch to mark.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_kinds, 1)
        One for each kind of curve.
    lines_ : dict of str to Line2D
        The curves by name.
    best_lines_ : list of Line2D
        The marks of the best epoch.
    ax_ : Axes
        The axes that were divided; None if several were given.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> from sknn.display import LossCurveDisplay
    >>> curves = {"loss": [2.0, 1.0, 0.5], "validation_loss": [2.0, 1.5, 1.7]}
    >>> display = LossCurveDisplay.from_history(curves)
    >>> display.best_epoch
    2
    """

    def __init__(self, *, history, best_epoch=None):
        self.history = history
        self.best_epoch = best_epoch

    def plot(self, ax=None, *, curves=None, yscale="auto", **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to divide, or one for each kind of curve. None: a new figure.
        curves : str, list of str or None, default=None
            The kinds to draw: 'loss', 'score', 'learning_rate', or another column. None: all, but
            a learning rate only if it varies. A single kind is drawn on `ax` itself.
        yscale : {'auto', 'linear', 'log'}, default='auto'
            Scale of the axes. 'auto': logarithmic for losses and learning rates that are positive
            and of which the largest is at least ten times the smallest; but linear for learning
            rates that decay almost to zero, as those of 'cosine' and 'one_cycle'.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for each curve.

        Returns
        -------
        display : LossCurveDisplay
            This display.
        """
        pyplot(type(self).__name__)
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

        check_choice("yscale", yscale, {"auto", "linear", "log"})
        history = _frame(self.history)
        kinds = _chosen(history, curves)
        ratios = [2 if kind == "loss" else 1 for kind in kinds]
        figsize = (6.4, 1.3 + 1.35 * sum(ratios) if len(kinds) > 1 else 4.2)
        axes = self._grid(ax, figsize, len(kinds), 1, True, height_ratios=ratios)
        self.lines_, self.best_lines_ = {}, []
        single = {"marker": "o"} if len(history) == 1 else {}
        for panel, (kind, names) in zip(axes.flat, kinds.items()):
            for name in names:
                held = name.startswith(_VALIDATION)
                label = "validation" if held else "training"
                style = {"color": "C1" if held else "C0", "label": label, **single}
                (self.lines_[name],) = panel.plot(
                    history.index, history[name], **styled(style, kwargs)
                )
            if self.best_epoch is not None:
                mark = {"color": "0.5", "linestyle": ":", "zorder": 1, "clip_on": False}
                label = f"best epoch, {self.best_epoch}"
                self.best_lines_.append(panel.axvline(self.best_epoch, label=label, **mark))
            values = history[names].to_numpy()
            values = values[np.isfinite(values)]
            if _wants_log(kind, values, yscale):
                panel.set_yscale("log")
                positive = values[values > 0]
                if positive.max(initial=0.0) <= _DECADES * positive.min(initial=np.inf):
                    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                    panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_ylabel(_LABELS.get(kind, kind.replace("_", " ")))
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
            margin = 0.5 if len(history) == 1 else 0.0
            panel.set_xlim(history.index[0] - margin, history.index[-1] + margin)
        for panel in axes[-1:, 0] if self.ax_ is not None else axes.flat:
            panel.set_xlabel("epoch")
        if len(axes[0, 0].lines) > 1:
            axes[0, 0].legend(frameon=False)
        return self

    @classmethod
    def from_estimator(cls, estimator, *, curves=None, yscale="auto", ax=None, **kwargs):
        """Draw the curves of a fitted estimator, and mark its best epoch.

        Parameters
        ----------
        estimator : estimator
            A fitted network, a pipeline that ends in one, a search whose best estimator is one,
            or any estimator with a `loss_curve_`.
        curves, yscale, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.
        """
        net, _ = cls._network_in(estimator)
        return cls.from_history(_history(cls, net), curves=curves, yscale=yscale, ax=ax, **kwargs)

    @classmethod
    def from_history(cls, history, *, curves=None, yscale="auto", ax=None, **kwargs):
        """Draw given curves, and mark the best epoch.

        It is the first with the highest validation score, which early stopping keeps, or else the
        lowest validation loss. Without validation data, none is marked.

        Parameters
        ----------
        history : DataFrame, or dict of str to array-like of shape (n_epochs,)
            The curves by name, as in `history_`.
        curves, yscale, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.
        """
        display = cls(history=history, best_epoch=_best_epoch(_frame(history)))
        return display.plot(ax=ax, curves=curves, yscale=yscale, **kwargs)


def _frame(history):
    """Return curves as a DataFrame, checked."""
    import pandas as pd

    if not isinstance(history, (pd.DataFrame, Mapping)):
        raise TypeError(f"history is {history!r}; expected a DataFrame or a dict of curves.")
    if not isinstance(history, pd.DataFrame):
        history = pd.DataFrame({name: np.asarray(curve) for name, curve in history.items()})
        history.index = pd.RangeIndex(1, len(history) + 1, name="epoch")
    if history.empty:
        raise ValueError("history has no curves, or no epochs.")
    return history.astype("float64")


def _history(cls, net):
    """Return the curves of a network, or of another estimator with a loss curve."""
    if hasattr(net, "history_"):
        return net.history_
    if not hasattr(net, "loss_curve_"):
        raise wrong_estimator(cls, net, "a network, or another estimator with a loss_curve_")
    check_is_fitted(net)
    columns = {
        "loss": net.loss_curve_,
        "errors": getattr(net, "errors_", None),
        "validation_score": getattr(net, "validation_scores_", None),
    }
    return {name: curve for name, curve in columns.items() if curve is not None}


def _best_epoch(history):
    for name, sign in (("validation_score", 1), ("validation_loss", -1)):
        if name in history and history[name].notna().any():
            return int((sign * history[name]).idxmax())
    return None


def _chosen(history, curves):
    """Return the names of the curves of each kind to draw."""
    kinds = {}
    for name in history:
        kinds.setdefault(name.removeprefix(_VALIDATION), []).append(name)
    if curves is None:
        constant = "learning_rate" in kinds and history["learning_rate"].nunique() < 2
        return {
            kind: names
            for kind, names in kinds.items()
            if not (constant and kind == "learning_rate" and len(kinds) > 1)
        }
    chosen = [curves] if isinstance(curves, str) else list(curves)
    unknown = [kind for kind in chosen if kind not in kinds]
    if unknown or not chosen:
        raise ValueError(f"curves is {curves!r}; expected some of {list(kinds)}.")
    return {kind: kinds[kind] for kind in chosen}


def _wants_log(kind, values, wanted):
    if wanted != "auto":
        return wanted == "log"
    if kind not in ("loss", "learning_rate") or not len(values) or values.min() <= 0:
        return False
    ratio = values.max() / values.min()
    return bool(ratio >= _WIDE and (kind == "loss" or ratio < _TO_ZERO))
