"""Programs that once found something, as short as they can be; the suite runs all of them."""

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
decoder = [RepeatVector(4), LSTM(9, return_sequences=True), Reshape((6, 6, 1))]
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
    "ConvNetRegressor([UpSampling2D(2**32), GlobalAveragePooling2D()], (6, 6)).fit(images(9, 6, 6), range(9))",
    "ConvNetRegressor([Conv2D(3, 3, strides=2**70)], (6, 6)).fit(images(9, 6, 6), range(9))",
    "ConvNetRegressor([deep(330, Dense(4))], (6, 6)).fit(images(9, 6, 6), range(9))",
    "CharRNN(n_layers=2**40).fit('abcab')",
    "Seq2SeqRNN(n_layers=2**40).fit(['ab'], ['ba'])",
    "CharMarkovChain(2**62).fit('abc')",
    "RBFNetClassifier(np.int8(100), max_iter=2).fit(table(200, 3), np.arange(200) % 3)",
    "MLPNetRegressor(solver='sgd', learning_rate='invscaling', power_t=1e5, max_iter=2).fit(table(9, 3), range(9))",
    # numbers at the end of their range
    """
X0 = images(12, 6, 6)
est = ConvNetRegressor([Conv2D(3, 3)], (6, 6), max_iter=2).fit(X0, np.arange(12))
est = ConvNetTransformer(est).fit(X0)
X1 = X0 * 1e308
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
    "ConvNetRegressor([Dense(4), Embedding(9, 3)], (6, 6)).fit(images(9, 6, 6), range(9))",
]


def known(number):
    """Return one of the programs."""
    return KNOWN[number % len(KNOWN)].strip().splitlines()
