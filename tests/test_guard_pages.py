"""Every estimator in the engine's debug mode, where an access outside an arena ends the process.

There memory is also filled with NaN: results are the same bits only if nothing reads memory that
nobody has written.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, sys, warnings
import numpy as np
import scipy.sparse as sp
from sknn import *
from sknn.cpu.memory import guarded
from sknn.layers import *

warnings.simplefilter("ignore")
assert guarded() == (sys.argv[1] == "guarded")
random = np.random.RandomState(0)
X, images = random.rand(37, 11), random.rand(37, 6, 6, 3).astype(np.float32)
y, lists = np.arange(37) % 3, [random.rand(n, 2) for n in 1 + np.arange(37) % 5]
texts = ["abcab" * n for n in range(1, 8)]
bits = hashlib.sha256()


def see(net, *data, methods=("predict",), rows=None, **more):
    net.fit(*data, **more)
    for method in methods:
        for some in (data[0] if rows is None else rows, data[0][:1]):
            found = getattr(net, method)(some)
            for part in found if isinstance(found, list) else [found]:
                part = np.asarray(part)
                bits.update(part.astype(str).tobytes() if part.dtype == object else part.tobytes())


small = {"max_iter": 2, "random_state": 0}
proba = ("predict_proba",)
see(MLPNetClassifier((9, 5), batch_norm=True, dropout=0.2, average=True, **small), X, y,
    methods=proba)
see(MLPNetClassifier((9,), solver="adamw", dropout=0.2, dropout_schedule="flat_cos",
                     initializer="data_dependent", **small), X, y, methods=proba)
see(MLPNetClassifier((9,), solver="lbfgs", **small), sp.csr_array(X), y, methods=proba)
see(MLPNetRegressor(hidden_layer_sizes=(9,), early_stopping=True, **small), X, X[:, :2],
    X_val=X, y_val=X[:, :2])
see(PerceptronClassifier(average=True, **small), X, y, methods=("decision_function",))
see(ConvNetClassifier([Conv2D(5, 3, padding="same", activation="relu"), BatchNormalization(),
                       MaxPooling2D(2), Conv2D(17, 2)], augmentation=RandomShift(1, 1), **small),
    images, y, methods=proba)
see(RNNClassifier("lstm", 5, bidirectional=True, **small), lists, y, methods=proba)
see(RNNRegressor("gru", (5, 3), return_sequences=True, **small), X, X)
see(RBFNetClassifier(7, random_state=0), X, y, methods=proba)
see(RBFNetRegressor(7, solver="adam", train_centers=True, train_widths=True, **small), X, X[:, 0])
see(AutoencoderTransformer((8, 3), tied_weights=True, noise=0.1, **small), X,
    methods=("transform", "reconstruct", "score_samples"))
see(VariationalAutoencoderTransformer(2, **small), X, methods=("transform", "score_samples"))
see(SequenceAutoencoderTransformer(4, **small), lists, methods=("transform", "reconstruct"))
see(CharRNN("gru", 9, seq_len=7, batch_size=3, **small), texts,
    methods=("predict_proba", "transform", "score_samples"))
table = {"categorical_features": [1], "max_one_hot": 0, **small}
rounded = np.round(X, 1)
see(TabularNetClassifier((9, 5), **table), rounded, y, methods=proba)
see(TabularNetClassifier((9, 5), n_ensemble=3, **table), rounded, y, methods=proba)
see(TabularNetRegressor((9,), numeric_embedding="piecewise_linear", cv=2, **table),
    rounded, X[:, 0])
net = Seq2SeqRNN("lstm", 6, beam_width=2, max_iter=2, random_state=0)
see(net, texts, texts[::-1], rows=texts[:3])
print(bits.hexdigest())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is protected in another way there")
def test_no_estimator_reads_or_writes_beyond_its_memory():
    printed = []
    for mode in ("plain", "guarded"):
        environment = os.environ | {"SKNN_GUARD_PAGES": "1" if mode == "guarded" else ""}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, mode], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
