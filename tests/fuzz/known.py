"""Programs that once found a fault, as short as possible; the suite runs all of them."""

KNOWN = [
    # a network's outputs are not those that the targets are for
    """
X0 = images(12, 6, 6)
est = ConvNetClassifier([Reshape((6, 6))], (6, 6), max_iter=2, n_jobs=JOBS)
est.fit(X0, np.arange(12) % 3)
est.predict(X0)
""",
    """
X0 = images(12, 8, 8)
est = ConvNetClassifier([Reshape((8, 8)), LSTM(4, return_sequences=True)], max_iter=2, n_jobs=JOBS)
est.fit(X0, np.arange(12) % 3)
est.predict(X0)
""",
    # arrays in the place of a network's own
    """
X0 = table(12, 5)
est = MLPNetClassifier((5,), max_iter=2, n_jobs=JOBS).fit(X0, np.arange(12) % 3)
est.coefs_[0] = np.zeros((30_000_000, 1))
est.predict(X0)
est.coefs_[0] = np.zeros(5)
est.predict(X0)
est.intercepts_[-1] = 7
est.predict(X0)
""",
    # recurrent layers of different lengths in one network
    """
X0 = images(12, 6, 6)
decoder = [RepeatVector(9), LSTM(4, return_sequences=True), Reshape((6, 6, 1))]
est = ConvAutoencoderTransformer([Reshape((6, 6)), LSTM(3)], decoder, (6, 6), n_jobs=JOBS)
est.set_params(max_iter=2, random_state=0).fit(X0)
twice_coded(est, X0)
""",
    # sparse matrices whose indices lead out of them
    """
X0 = table(12, 5)
X1 = corrupted(sparse(X0), 'indices', -1, 100000)
est = MLPNetRegressor(hidden_layer_sizes=(5,), max_iter=2, n_jobs=JOBS).fit(X0, np.arange(12))
est.predict(X1)
X2 = corrupted(sparse(X0), 'indptr', -1, 2**30)
est.predict(X2)
""",
    # sizes that do not fit into 64 bits, or into any time
    """
layers = [UpSampling2D(2**32), GlobalAveragePooling2D()]
ConvNetRegressor(layers).fit(images(9, 6, 6), np.ones(9))
""",
    "ConvNetRegressor([Conv2D(3, 3, strides=2**70)]).fit(images(9, 6, 6), np.ones(9))",
    "ConvNetRegressor([deep(330, Dense(4))]).fit(images(9, 6, 6), np.ones(9))",
    "CharRNN(n_layers=2**40).fit('abcab')",
    "Seq2SeqRNN(n_layers=2**40).fit(['ab'], ['ba'])",
    "CharMarkovChain(2**62).fit('abc')",
    "RBFNetClassifier(np.int8(100), max_iter=2).fit(table(200, 3), np.arange(200) % 3)",
    """
est = MLPNetRegressor(solver='sgd', learning_rate='invscaling', power_t=1e5, max_iter=2)
est.fit(table(9, 3), np.arange(9))
""",
    # numbers at the end of their range
    """
X0 = images(12, 6, 6)
est = ConvNetClassifier([Conv2D(3, 3), Conv2D(3, 3)], max_iter=2).fit(X0, np.arange(12) % 3)
est = ConvNetTransformer(est).fit(X0)
X1 = X0 * 8e307
est.transform(X1)
""",
    """
X0 = table(12, 5)
est = PerceptronClassifier(dtype='float32').fit(X0, np.arange(12) % 3)
X1 = X0 * 1e39
est.decision_function(X1)
""",
    # sequences and texts
    "RNNClassifier().fit(np.empty(0), np.empty(0))",
    """
est = SequenceAutoencoderTransformer(3, max_iter=2).fit(table(5, 4))
est.inverse_transform(np.zeros((2, 3)), lengths=np.array([3, 2**63 + 5], np.uint64))
est.inverse_transform(np.zeros((2, 3)), lengths=np.array([3, 2**62]))
""",
    # files, and parameters that are changed between fit and prediction
    """
X0 = images(12, 6, 6)
est = ConvNetRegressor([Conv2D(3, 3)], (6, 6), max_iter=2).fit(X0, np.arange(12))
est.save_weights('.')
est.load_weights('.')
est.set_params(dtype='float16')
est.predict(X0)
""",
    # parameters that are changed between fits
    """
X0 = table(9, 5)
est = AutoencoderTransformer((3,), max_iter=2).fit(X0)
est.set_params(loss=5j)
est.partial_fit(X0)
""",
    # weights of samples that overflow
    """
X0 = table(36, 5, dtype='float32')
est = PerceptronClassifier(max_iter=2)
est.fit(X0, np.arange(36) % 3, sample_weight=np.full(36, 1e300))
""",
    "RNNClassifier('rnn', 3, mask_value=2**70, max_iter=2).fit(table(9, 5), np.arange(9) % 2)",
    # tokens where a layer gives numbers
    """
X0 = images(12, 6, 6)
est = ConvNetClassifier([Dense(4, activation='relu'), LSTM(3, n_tokens=10)], max_iter=2)
est.fit(X0, np.arange(12) % 3)
""",
    # targets, and data to reconstruct, of odd kinds
    "ConvNetRegressor([Conv2D(3, 3)]).partial_fit(images(1, 6, 6), sparse(table(1, 3)))",
    """
est = SequenceAutoencoderTransformer(3, max_iter=2).fit(table(2, 5))
est.score_samples(table(2, 5, 'datetime64[s]'))
""",
    # a matrix that SciPy's check_format lets pass
    """
X0 = table(12, 5)
est = PerceptronClassifier(max_iter=2).fit(X0, np.arange(12) % 3)
X1 = corrupted(sparse(X0), 'indptr', -1, -1)
est.predict(X1)
""",
]


def known(number):
    """Return one of the programs."""
    return KNOWN[number % len(KNOWN)].strip().splitlines()
