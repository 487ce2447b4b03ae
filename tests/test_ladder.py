"""The ladder of fitting: few calls, the same for all estimators, and no calls back in training."""

import sys
import warnings

import numpy as np
import pytest

import sknn
from sknn.engine.data import Data
from sknn.engine.network import Network
from sknn.engine.prediction import predict
from sknn.engine.recipe import Recipe
from sknn.engine.training import Progress, Trainer
from sknn.engine.weights import Weights
from sknn.estimator.inputs import Rows
from sknn.estimator.tasks import Classification, Regression
from sknn.layers import Activation, Dense
from sknn.tape.losses import Loss
from sknn.tape.sources import Source

X = np.random.RandomState(0).rand(60, 5)
Y = np.arange(60) % 3
TEXTS = ["abcab" * n for n in range(1, 20)]
SMALL = {"max_iter": 2, "random_state": 0}
EARLY = {**SMALL, "early_stopping": True, "validation_fraction": 0.2}


def walk(net, *data):
    """Return the calls of an estimator's own methods, up to training and during it."""
    before, during, trainings = [], [], []

    def profile(frame, event, arg):
        name = frame.f_code.co_qualname
        if name in ("Trainer.fit", "fit_lbfgs"):
            trainings.append(event)
        elif event == "call" and type(frame.f_locals.get("self")) is type(net):
            # of decorators, and of scikit-learn
            others = "wrapper", "sklearn", "<", "get_params", "_validate_params"
            own = "/sknn/" in frame.f_code.co_filename
            if own and not any(other in name for other in others):
                if not trainings:
                    before.append(name)
                elif trainings.count("call") > trainings.count("return"):
                    during.append(name)

    net.fit(*data)  # so that everything is compiled
    sys.setprofile(profile)
    try:
        net.fit(*data)
    finally:
        sys.setprofile(None)
    return before, during


@pytest.mark.parametrize(
    "net, data, most",
    [
        (sknn.MLPNetClassifier(**EARLY), (X, Y), 10),
        (sknn.MLPNetRegressor(solver="lbfgs", **SMALL), (X, X[:, 0]), 10),
        (sknn.ConvNetClassifier([sknn.layers.Flatten()], **EARLY), (X, Y), 15),
        (sknn.RNNClassifier("gru", 3, **EARLY), (X, Y), 15),
        (sknn.RBFNetRegressor(3, solver="adam", **EARLY), (X, X[:, 0]), 20),
        (sknn.TabularNetClassifier((3,), **EARLY), (X, Y), 25),
        (sknn.AutoencoderTransformer(3, noise=0.1, **EARLY), (X,), 20),
        (sknn.VariationalAutoencoderTransformer(**EARLY), (X,), 15),
        (sknn.SequenceAutoencoderTransformer(3, **EARLY), (X,), 15),
        (sknn.CharRNN("gru", 3, sample_chars=3, **EARLY), (TEXTS,), 20),
        (sknn.Seq2SeqRNN("gru", 3, **EARLY), (TEXTS, TEXTS), 15),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_few_steps_lead_to_training_and_none_back_up(net, data, most, capsys):
    before, during = walk(net, *data)
    # and two more, in the engine: from the job to the trainer, and to its loop
    assert before[0].endswith("fit") and len(before) - 1 + 2 <= most, before
    assert during == []


def test_the_engine_trains_without_an_estimator():
    """Two classes as numbers: what is learned is what an estimator of the same settings learns."""
    y = (X[:, 0] > X[:, 1]).astype(float)
    network = Network((Dense(1), Activation("logistic")), 5, Loss("log_loss", "logistic"))
    rows = np.arange(len(X))
    data = Data(Source(X), Source(y[:, None]), None, rows, y)
    progress = Progress([np.zeros((5, 1)), np.zeros(1)])
    recipe = Recipe(solver="sgd", learning_rate_init=0.5, max_iter=20, batch_size=20, n_jobs=1)
    random_state = np.random.RandomState(0)
    trainer = Trainer(
        recipe, network, np.dtype(float), progress, data, None, None, random_state, seed=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(20, False, lambda: lambda: False)
    net = sknn.MLPNetClassifier(
        (), solver="sgd", learning_rate_init=0.5, alpha=0, max_iter=20, batch_size=20,
        initializer="zeros", random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, y)
    np.testing.assert_array_equal(progress.values[0], net.coefs_[0])
    np.testing.assert_array_equal(progress.loss_curve, net.loss_curve_)
    outputs = predict(Weights.of_packed(network, progress.values, np.dtype(float)), Source(X), 1)
    np.testing.assert_array_equal(outputs.ravel() > 0.5, net.predict(X) == 1)


def test_tasks_answer_without_a_fit():
    labels = np.array(["b", "a", "c", "a"])
    task = Classification()
    task.check()
    inputs = Rows(X[:4], 5)
    task.learn(labels, incremental=False, warm_start=False)
    assert task.fitted()["classes_"].tolist() == ["a", "b", "c"]
    assert task.count_outputs(inputs, labels) == 3
    out, loss = task.head(3)
    assert (out.function, loss.name) == ("softmax", "log_loss") and loss.counts_classes
    assert task.encode(labels, loss, 3).tolist() == [1, 0, 2, 0]
    outputs = np.eye(3)[[1, 0, 2, 1]]
    assert task.answer(outputs).tolist() == ["b", "a", "c", "b"]
    assert task.score_outputs(outputs, task.encode(labels, loss, 3), None) == 0.75
    with pytest.raises(ValueError, match="loss='poisson' is not for this task"):
        Classification("poisson").check()
    task = Regression("poisson")
    out, loss = task.head(2)
    assert (out.function, loss.name) == ("exp", "poisson")
    with pytest.raises(ValueError, match="needs y >= 0"):
        task.encode(-np.ones((4, 2)), loss, 2)
    assert task.answer(np.ones((4, 1))).shape == (4,)
