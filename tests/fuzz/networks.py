"""Programs with lists of layers, valid and invalid."""

import re

from sknn.layers.base import output_shape

from .values import DTYPES, ODD

_SIMPLE = """
Dense(4,activation='relu') Dense(3) Dense(1) Dense(36) Conv2D(3,3,padding='same') Conv2D(2,(1,3))
Conv2D(4,3,strides=2,activation='tanh') Conv2D(3,3,dilation_rate=2) Conv2DTranspose(2,3,strides=2)
Conv2D(4,1,groups=2)
MaxPooling2D(2) AveragePooling2D(2) AveragePooling2D(3,1,padding='same') GlobalAveragePooling2D()
UpSampling2D(2) UpSampling2D(2,'bilinear') RepeatVector(3) RepeatVector(5) Reshape((6,6))
Reshape((36,)) Reshape((3,3,4)) Reshape((8,8)) Reshape((1,1,36)) Reshape((6,6,1)) Flatten()
BatchNormalization() LocalResponseNormalization(3) Dropout(0.3) GaussianNoise(0.1) MaskingNoise(0.2)
SaltAndPepperNoise(0.1) GaussianSampling() ActivityRegularization(0.1) Activation('tanh')
Activation('softmax') SimpleRNN(3,return_sequences=True) SimpleRNN(3) LSTM(3,return_sequences=True)
LSTM(3) GRU(3,reverse=True) GRU(3,return_sequences=True) Bidirectional(LSTM(2))
Bidirectional(GRU(2,return_sequences=True)) Embedding(10,3) LSTM(3,n_tokens=10) RadialBasis(3)
TiedDense('layers.0',4) ContractivePenalty('layers.0','relu',0.1) RandomFlip() RandomShift(1,1)
RandomCrop(4,4) Select(0,4) Select(3,7) Scale() ParametricActivation('elu') GroupedDense(2,3)
GroupedDense(3,4,use_bias=False) NumericEmbedding() CategoryEmbedding([2,3,4])
NumericEmbedding('piecewise_linear',bins=3)
""".split()
_ODD = """
Reshape((2**32,2**32)) Reshape((-1,4)) Reshape((0,)) UpSampling2D(2**32) UpSampling2D(2**31)
UpSampling2D(2**16) UpSampling2D((1,2**62)) RepeatVector(2**40) RepeatVector(2**62)
Conv2D(3,3,strides=2**70) Conv2D(3,3,strides=2**62) MaxPooling2D(2,2**63) Conv2D(2**40,1)
Conv2D(3,2**31,padding='same') Conv2D(3,3,dilation_rate=2**62) Dense(2**40) Dense(2**62)
Dense(np.int8(100)) Conv2DTranspose(2,3,strides=2**32) Embedding(2**62,2**62) LSTM(2**31)
Conv2D(np.uint8(200),np.int8(3)) MaxPooling2D(np.int8(2)) deep(330,Dense(4)) deep(2000,Dense(4))
deep(20,Flatten()) LocalResponseNormalization(2**62) LSTM(3,truncate=2**62) RandomShift(2**40,1)
Conv2DTranspose(2,2**31) AveragePooling2D(2**32,1,padding='same') BatchNormalization(1e-300,1e-320)
Dropout(0.999999999) GaussianNoise(1e300) Activation('leaky_relu',1e300) RadialBasis(2**40)
EncoderDecoder([LSTM(3)],[LSTM(3,return_sequences=True)],3)
EncoderDecoder([GRU(2)],[GRU(2,return_sequences=True),Dense(2)],2) RandomCrop(2**40,2**40)
NumericEmbedding(units=2**31-1,frequencies=2**31-1) NumericEmbedding(sigma=1e300)
Select(2**40,2**41) GroupedDense(2**31-1,1) GroupedDense(1,2**40) CategoryEmbedding([2**31-1]*3)
""".split()
_SHAPES = [(6, 6), (6, 6, 1), (3, 4, 3), (36,), (1, 9), (5, 1, 2)]


def _made(text):
    from . import tools

    return eval(text, vars(tools))


def _layer(random, depth):
    roll = random.random()
    if depth < 3 and roll < 0.2:
        parts = [", ".join(_some(random, 2, depth + 1)) for _ in range(random.randint(1, 2))]
        lists = ", ".join(f"[{part}]" for part in parts)
        return random.choice(
            [f"Sequential([{parts[0]}])", f"Residual({lists})", f"Concatenate([{lists}])"]
        )
    if roll < 0.25:
        return random.choice(_ODD)
    text = random.choice(_SIMPLE)
    if roll > 0.95:  # any value in the place of an argument
        head, _, rest = text.rpartition("(")
        text = f"{head}({random.choice(ODD)}{rest[re.search('[,)]', rest).start() :]}"
    return text


def _some(random, most, depth=0):
    return [_layer(random, depth) for _ in range(random.randint(1, most))]


def _fitting(random, shape, most):
    """Return layers of which most take what the one before gives, and the last one's shape."""
    layers = []
    for _ in range(random.randint(0, most)):
        for _ in range(4):
            text = _layer(random, 0)
            try:
                following = output_shape([_made(text)], shape)
                if 0 < len(following) and max(following) < 10_000:
                    shape = following
                    break
            except Exception:  # what is wrong with it is for the worker to see
                pass
            if random.random() < 0.05:
                break
        else:
            continue
        layers.append(text)
    return layers, shape


def networks(random):
    """Return a program that fits a network of any layers."""
    shape = random.choice(_SHAPES)
    whole = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) == 1:
        whole = (1, *shape, 1)
    dtype = random.choice(DTYPES)
    before = [f"Reshape({(whole[0], whole[1] * whole[2])})"] if random.random() < 0.25 else []
    start = output_shape([_made(text) for text in before], whole)  # a sequence, or an image
    layers, code = _fitting(random, start, random.choice([1, 3, 5]))
    layers = before + layers
    given = f"[{', '.join(layers)}]"
    image_shape = random.choice([shape, shape, None])
    more = "max_iter=2, random_state=0, n_jobs=JOBS"
    if random.random() < 0.2:
        more += random.choice([
            ", batch_size=5", ", solver='lbfgs'", ", augmentation=RandomFlip()",
            ", dtype='float32'", ", early_stopping=True, validation_fraction=0.3",
            ", solver='sgd'", ", clip_norm=0.5",
            ", augmentation=[RandomShift(1, 1), RandomCrop(3, 3)]",
        ])  # fmt: skip
    X = f"images(12, *{shape}, dtype={dtype!r}, seed=1)"
    if random.random() < 0.2:
        X = f"table(12, {whole[0] * whole[1] * whole[2]}, 'uint8')"
    lines = [f"X0 = {X}", "y0 = np.arange(12) % 3"]
    if random.random() < 0.35:
        decoder, _ = _fitting(random, code, 3)
        if random.random() < 0.7:
            decoder += [f"Dense({whole[0] * whole[1] * whole[2]})", f"Reshape({whole})"]
        name = "ConvAutoencoderTransformer"
        lines += [
            f"est = {name}({given}, [{', '.join(decoder)}], {image_shape}, {more})", "est.fit(X0)",
            "twice_coded(est, X0)", "est.transform(X0)", "est.reconstruct(X0)",
        ]  # fmt: skip
        return lines
    name = random.choice(["ConvNetClassifier", "ConvNetRegressor"])
    if name == "ConvNetRegressor":
        lines[1] = random.choice(["y0 = table(12, 1)[:, 0]", "y0 = table(12, 2)"])
    lines += [f"est = {name}({given}, {image_shape}, {more})", "est.fit(X0, y0)", "est.predict(X0)"]
    if name == "ConvNetClassifier":
        lines.append("est.predict_proba(X0)")
    if random.random() < 0.3:
        layer = random.choice([*range(-4, 4), "'layers.0'", "2**70", "np.int8(1)"])
        lines += [f"est = ConvNetTransformer(est, {layer}).fit(X0)", "est.transform(X0)"]
        if random.random() < 0.5:
            lines += ["X1 = X0 * 1e38", "est.transform(X1)"]
    if random.random() < 0.2:
        lines += ["est.summary()", "est.weights_"]
    return lines
