"""Event files that TensorBoard reads while a network is fitted."""

import inspect
import os
import weakref
from contextlib import suppress
from math import prod
from numbers import Integral, Number

import numpy as np
from sklearn.utils.validation import _num_samples

from ..estimator.net import Net, has_finite_weights
from ..estimator.probing import Probe
from ..estimator.scoring import part
from ..estimator.transactions import NeuralEstimator
from ..tape.on_demand import OnDemand, read_on_demand
from .events import Events, check_installed, new_run
from .pictures import filters, images_of, reconstructions

#: Number of samples whose reconstructions are shown.
_RECONSTRUCTED = 8
#: Number of samples for a gradient of data that are read on demand: all would take an epoch.
_PROBED = 200


class TensorBoard:
    """A callback that writes event files for TensorBoard, of each epoch at its end.

    It is set by ``estimator.set_callbacks(TensorBoard("runs"))``; ``tensorboard --logdir runs``
    shows the runs, also while they are being fitted. Each fit has a folder of its own, named after
    the estimator and those of its parameters that are not the defaults, with a number: so has each
    fit of a grid search, in any process. A partial fit, or one with ``warm_start=True``, goes on in
    the folder of the fit before it.

    Steps are epochs, counted like those of ``history_``. The tags are:

    - the columns of ``history_``: 'loss', 'learning_rate', with validation data 'validation_loss'
      and 'validation_score', and so on;
    - 'weights/<layer>/<parameter>' and 'gradients/<layer>/<parameter>', histograms; the gradients
      are those of a minibatch of the samples passed to `fit` (of 200 of them, if they are read on
      demand), with equal weights and without penalties on weights;
    - 'filters', an image of the first layer's weights, if the network reads images: those of a
      convolutional layer, or one image for each unit of a dense one;
    - 'reconstructions', if it is an autoencoder of images: the first samples above, what the
      network makes of them below.

    Parameters
    ----------
    log_dir : str or path-like
        The folder for the runs; it is created if necessary.
    histograms_every : int, default=10
        Write histograms in the first epoch, and in those whose number is a multiple of this; 0:
        never.
    images_every : int, default=10
        The same for images.
    image_shape : tuple of int, default=None
        The (height, width) or (height, width, channels) of the images that the rows of X are, for
        estimators that do not know it. None: there are only images of those that read images.

    Notes
    -----
    This callback requires tensorboardX, and Pillow for images: ``pip install "sknn[tensorboard]"``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPNetClassifier
    >>> from sknn.callbacks import TensorBoard
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier(max_iter=300).set_callbacks(TensorBoard("runs"))
    >>> net.fit(X, y)  # doctest: +SKIP
    """

    def __init__(self, log_dir, *, histograms_every=10, images_every=10, image_shape=None):
        self.log_dir = os.fspath(log_dir)
        for name, every in (("histograms_every", histograms_every), ("images_every", images_every)):
            if not isinstance(every, Integral) or isinstance(every, bool) or every < 0:
                raise ValueError(f"{name} is {every!r}; expected an int of at least 0.")
        self.histograms_every, self.images_every = int(histograms_every), int(images_every)
        self.image_shape = None if image_shape is None else _checked(image_shape)
        self._start()

    def _start(self):
        # The contexts of fits in progress, and the event file of the last fit of each estimator.
        self._fits, self._files = set(), weakref.WeakKeyDictionary()

    def __getstate__(self):
        return {k: v for k, v in vars(self).items() if k not in ("_fits", "_files")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._start()

    def __repr__(self):
        return f"TensorBoard({self.log_dir!r})"

    # --- scikit-learn's protocol

    def setup(self, estimator, context):
        """Check, before anything is trained, that events can be written."""
        if not isinstance(estimator, NeuralEstimator):
            raise TypeError(
                f"{type(estimator).__name__} is not trained in epochs; TensorBoard is for networks "
                "of sknn. In a pipeline or a search, set the callback on the network itself."
            )
        check_installed(images=self.images_every > 0)
        os.makedirs(self.log_dir, exist_ok=True)
        self._fits.add(id(context))

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        """Write the events of an epoch that has ended."""
        of_fit = context.parent is not None and id(context.parent) in self._fits
        if not of_fit or not hasattr(fitted_estimator, "loss_curve_"):
            return
        net, epoch = fitted_estimator, len(fitted_estimator.loss_curve_)
        # the first epoch of all, not of a fit that goes on
        if epoch == 1 or estimator not in self._files:
            self._files[estimator] = new_run(self.log_dir, described(estimator))
        with Events(self._files[estimator], epoch) as events:
            for name, value in _last_of_curves(net).items():
                events.scalar(name, value)
            if _due(epoch, self.histograms_every) and isinstance(net, Net):
                _add_histograms(events, net, X, y)
            if _due(epoch, self.images_every) and isinstance(net, Net):
                _add_images(events, net, X, images_of(net) or self._shape_for(net))

    def teardown(self, estimator, context):
        """Forget the fit."""
        self._fits.discard(id(context))

    def _shape_for(self, net):
        """Return `image_shape`, checked against the features of a network."""
        shape, n_features = self.image_shape, getattr(net, "n_features_in_", None)
        if shape is not None and n_features is not None and prod(shape) != n_features:
            raise ValueError(
                f"image_shape is {shape}; expected the shape of images of {n_features} features, "
                "as X has."
            )
        return shape


def described(estimator):
    """Return an estimator's class, and those of its short parameters that are not the defaults."""
    parameters = inspect.signature(type(estimator)).parameters
    given = estimator.get_params(deep=False)
    changed = ",".join(
        f"{name}={value}".replace(" ", "")
        for name, value in given.items()
        if _is_short(value) and repr(value) != repr(parameters[name].default)
    )
    return type(estimator).__name__ + (f"({changed})" if changed else "")


def _is_short(value):
    """Return whether a parameter is a word, a number, or a tuple of them."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_short, value))
    return value is None or isinstance(value, (str, Number))


def _due(epoch, every):
    """Return whether something is to be written in an epoch, counted from 1."""
    return every > 0 and (epoch == 1 or epoch % every == 0)


def _last_of_curves(fitted):
    """Return the last values of an estimator's curves, by the name that `history_` has for them."""
    if hasattr(type(fitted), "history_"):
        last = fitted.history_.iloc[-1]
        return {name: value for name, value in last.items() if np.isfinite(value)}
    return {"loss": fitted.loss_curve_[-1]}


def _add_histograms(events, net, X, y):
    kinds = {"weights": net._held_weights().by_layer()}
    if has_finite_weights(net):  # else training will say so
        X = read_on_demand(X)
        if isinstance(X, OnDemand):
            rows = np.linspace(0, len(X) - 1, min(len(X), _PROBED)).astype(int)
            X, y = X[rows], part(y, rows)
        kinds["gradients"] = Probe(net, X, y).gradients(steps=1)[1]
    for kind, layers in kinds.items():
        for path, parameters in layers.items():
            for name, values in parameters.items():
                events.histogram(f"{kind}/{path}/{name}", values)


def _add_images(events, net, X, shape):
    if shape is None or not has_finite_weights(net):
        return
    found = filters(net, shape)
    if found is not None:
        events.image("filters", found)
    if hasattr(net, "reconstruct"):
        few = part(X, np.arange(min(_RECONSTRUCTED, _num_samples(X))))
        with suppress(ValueError):  # they are not finite
            events.image("reconstructions", reconstructions(net, few, shape))


def _checked(image_shape):
    """Return the parameter `image_shape` as (height, width, channels), or raise ValueError."""
    given = tuple(image_shape) if np.ndim(image_shape) == 1 else ()
    whole = all(isinstance(n, Integral) and n > 0 for n in given)
    if len(given) not in (2, 3) or not whole:
        raise ValueError(
            f"image_shape is {image_shape!r}; expected (height, width) or (height, width, "
            "channels), ints of at least 1."
        )
    return (*map(int, given), 1)[:3]
