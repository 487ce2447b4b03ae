"""Tables as numbers: what becomes of each kind of column, and what is refused."""

import datetime
import decimal
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.preprocessing import OneHotEncoder, RobustScaler

from sknn.files import codec
from sknn.tabular.encoding import Table, TableEncoder, quantile_edges, read_table


def read(X):
    return read_table(BaseEstimator(), X, reset=True)


def encode(X, X_new=None, dtype=np.float64, **parameters):
    """Return an encoder of X, and X or X_new encoded."""
    encoder = TableEncoder(**parameters).fit(read(X))
    return encoder, encoder.transform(read(X if X_new is None else X_new), dtype)


def plain(X, X_new=None, **parameters):
    """Return X or X_new encoded, but neither scaled nor clipped."""
    return encode(X, X_new, smooth_clip=None, scaling=None, **parameters)[1]


def frame(**columns):
    return pd.DataFrame(columns)


TEXTS = {"text": ["b", "a", "c", "a"]}
NAMES = ["b", "a", "c", "a"]
ONE_HOT = [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]


# --- numbers


def test_numbers_are_scaled_as_by_scikit_learn_and_clipped():
    X = np.random.RandomState(0).lognormal(size=(500, 3))
    z = RobustScaler().fit_transform(X)
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    np.testing.assert_allclose(encode(X)[1], expected, rtol=1e-13)
    np.testing.assert_allclose(encode(X, smooth_clip=None)[1], z, rtol=1e-13)
    expected = X / np.sqrt(1 + (X / 0.5) ** 2)
    np.testing.assert_allclose(encode(X, smooth_clip=0.5, scaling=None)[1], expected, rtol=1e-13)
    assert np.array_equal(plain(X), X)


def test_a_column_without_interquartile_range_is_divided_by_half_its_range():
    rare = np.array([0.0] * 9 + [4.0])
    encoder, got = encode(np.column_stack([rare, np.full(10, 7.0)]), smooth_clip=None)
    np.testing.assert_array_equal(got, np.column_stack([rare / 2, np.zeros(10)]))
    new = encoder.transform(read(np.array([[2.0, 99.0]])), np.float64)
    np.testing.assert_array_equal(new, [[1.0, 0.0]])  # a constant column stays 0


def test_missing_numbers_are_medians_with_a_column_that_says_so():
    X = frame(full=[1.0, 2.0, 3.0, 9.0], gaps=[5.0, np.nan, 7.0, 8.0])
    encoder, _ = encode(X)
    assert encoder.feature_names_out_ == ["full", "gaps", "missingindicator_gaps"]
    assert (encoder.n_numeric_, encoder.n_one_hot_, encoder.counts_) == (3, 0, [])
    got = plain(X, frame(full=[np.nan, 1.0], gaps=[np.nan, 1.0]))
    np.testing.assert_array_equal(got, [[2.5, 7.0, 1.0], [1.0, 1.0, 0.0]])
    # the column's scale is that of its values which are there
    z = (np.array([5.0, 7.0, 7.0, 8.0]) - 7.0) / 1.5
    np.testing.assert_allclose(encode(X, smooth_clip=None)[1][:, 1], z)


def test_columns_that_are_all_missing_are_zero():
    X = frame(number=[np.nan] * 3, nothing=[None] * 3, text=pd.Series([None] * 3, dtype="string"))
    encoder, got = encode(X)
    assert encoder.is_categorical_.tolist() == [False, True, True]
    np.testing.assert_array_equal(got, np.zeros((3, 4)))
    new = frame(number=[4.0], nothing=["a"], text=["b"])
    np.testing.assert_array_equal(encode(X, new)[1], np.zeros((1, 4)))


_DAYS = pd.date_range("2020-01-01", periods=4)
_NUMBERS = {
    "integers": np.array([3, 1, 2, 5]), "float16": np.array([3, 1, 2, 5], np.float16),
    "long": np.array([3, 1, 2, 5], np.longdouble), "uint8": np.array([3, 1, 2, 5], np.uint8),
    "nullable": pd.array([3, 1, 2, 5], dtype="Int64"), "nullable floats": pd.array([3, 1, 2, 5.0]),
    "objects": pd.Series([3, 1.0, 2, np.int8(5)], dtype=object),
    "decimals": pd.Series([decimal.Decimal(n) for n in (3, 1, 2, 5)], dtype=object),
    "sparse": pd.arrays.SparseArray([3, 1, 2, 5]),
}  # fmt: skip


@pytest.mark.parametrize("values", _NUMBERS.values(), ids=_NUMBERS)
def test_types_of_numbers(values):
    encoder, got = encode(frame(x=values), scaling=None, smooth_clip=None)
    assert not encoder.is_categorical_.any()
    np.testing.assert_array_equal(got, [[3], [1], [2], [5]])


_MISSING = {
    "nullable": pd.array([3, None, 2], dtype="Int64"), "floats": pd.array([3, None, 2.0]),
    "objects": pd.Series([3, None, 2], dtype=object), "NA": pd.Series([3, pd.NA, 2], dtype=object),
    "times": pd.to_timedelta([3, None, 2], unit="D"),
    "dates": pd.to_datetime(["1970-01-04", None, "1970-01-03"]),
    "zones": pd.to_datetime(["1970-01-04T01:00+01:00", None, "1970-01-03T01:00+01:00"]),
    "objects of dates": [datetime.date(1970, 1, 4), None, datetime.date(1970, 1, 3)],
    "periods": pd.PeriodIndex(["1970-01-04", None, "1970-01-03"], freq="D"),
}  # fmt: skip


@pytest.mark.parametrize("values", _MISSING.values(), ids=_MISSING)
def test_types_of_numbers_and_dates_with_missing_ones(values):
    np.testing.assert_array_equal(plain(frame(x=values)), [[3, 0], [2.5, 1], [2, 0]])


def test_dates_in_arrays_are_days_whatever_their_unit():
    for unit in ("D", "h", "ns"):
        X = np.array([["1970-01-02"], ["1970-01-05"]], f"datetime64[{unit}]")
        np.testing.assert_array_equal(plain(X), [[1], [4]])
    np.testing.assert_array_equal(plain(np.array([[36]], "timedelta64[h]")), [[1.5]])


# --- categories


_TEXTS = {
    "str": NAMES, "object": pd.Series(NAMES, dtype=object), "string": pd.array(NAMES, "string"),
    "category": pd.Categorical(NAMES), "ordered": pd.Categorical(NAMES, ["c", "b", "a"], True),
    "unused": pd.Categorical(NAMES, ["z", "c", "b", "a"]),
}  # fmt: skip


@pytest.mark.parametrize("values", _TEXTS.values(), ids=_TEXTS)
@pytest.mark.parametrize("later", _TEXTS.values(), ids=_TEXTS)
def test_categories_are_compared_by_value_whatever_the_type(values, later):
    np.testing.assert_array_equal(plain(frame(x=values), frame(x=later)), ONE_HOT)


def test_arrays_and_lists_of_text():
    for X in (np.array(NAMES)[:, None], np.array(NAMES, object)[:, None], [[c] for c in NAMES]):
        np.testing.assert_array_equal(plain(X), ONE_HOT)
    # NumPy would make text of the numbers
    encoder, got = encode([[1.5, "b"], [2.5, "a"], [None, "c"]], scaling=None, smooth_clip=None)
    assert encoder.is_categorical_.tolist() == [False, True]
    np.testing.assert_array_equal(got[:, 0], [1.5, 2.5, 2.0])
    assert encoder.feature_names_out_ == ["x0", "missingindicator_x0", "x1_a", "x1_b", "x1_c"]


def test_two_categories_are_one_column_of_signs():
    X = frame(x=["n", "y", "y"])
    encoder, got = encode(X, frame(x=["y", "n", None, "?"]), scaling=None, smooth_clip=None)
    assert encoder.feature_names_out_ == ["x"] and encoder.n_one_hot_ == 1
    np.testing.assert_array_equal(got, [[1], [-1], [0], [0]])


def test_missing_is_a_category_if_it_was_in_fit():
    X = frame(x=["b", None, "a", np.nan])
    encoder, got = encode(X, frame(x=["a", "b", "?", None]), scaling=None, smooth_clip=None)
    assert encoder.feature_names_out_ == ["x_a", "x_b", "x_nan"]
    np.testing.assert_array_equal(got, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    # one value and missing are two categories
    np.testing.assert_array_equal(plain(X[1:3], frame(x=["a", None, "b"])), [[-1], [1], [0]])
    without = plain(frame(**TEXTS), frame(text=["a", None, "?"]))
    np.testing.assert_array_equal(without, [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_one_hot_columns_pass_through_the_scaling():
    names = np.random.RandomState(0).choice(list("abcd"), 200, p=[0.5, 0.3, 0.15, 0.05])[:, None]
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(names)
    np.testing.assert_allclose(encode(names)[1], encode(one_hot)[1])


@pytest.mark.parametrize("n, counts", [(8, []), (9, [10])])
def test_more_categories_are_numbers_as_in_pytabkit(n, counts):
    encoder, got = encode(frame(x=[f"v{i}" for i in range(n)]))
    assert encoder.counts_ == counts and got.shape == (n, 1 if counts else n)
    assert encode(frame(x=["a"]), max_one_hot=1)[0].counts_ == [2]
    assert encode(frame(x=["a"]), max_one_hot=2)[0].counts_ == []


def test_categories_by_number_are_tokens_of_one_vocabulary():
    X = frame(a=["z", "x", "y"], number=[1.0, 2.0, 3.0], b=[10, 9, None], c=["u", "u", "v"])
    options = {"max_one_hot": 0, "categorical_features": ["a", "b", "c"]}
    new = frame(a=["?", "z", None], number=[0.0, 0.0, 0.0], b=[9, 11, 10], c=["v", None, "u"])
    encoder, got = encode(X, new, np.float32, **options)
    assert encoder.counts_ == [4, 3, 3] and encoder.categories_[1] == ["9", "10"]
    assert encoder.feature_names_out_ == ["number", "a", "b", "c"]
    np.testing.assert_array_equal(got[:, 1:], [[0, 4 + 1, 7 + 2], [3, 4, 7], [0, 4 + 2, 7 + 1]])
    assert got.dtype == np.float32 and got.flags.c_contiguous


def test_groups_are_in_order():
    X = frame(t=["a", "b", "c"], m=["p", "q", "r"], x=[1.0, None, 2.0], f=[True, False, True])
    encoder, got = encode(X, max_one_hot=3)
    assert encoder.counts_ == [4, 4] and encoder.n_numeric_ == 2 and encoder.n_one_hot_ == 1
    assert encoder.feature_names_out_ == ["x", "missingindicator_x", "f", "t", "m"]
    assert encoder.n_columns_ == got.shape[1] == 5
    np.testing.assert_array_equal(got[:, 3:], [[1, 5], [2, 6], [3, 7]])


def test_bools_are_categories_and_true_is_one():
    X = frame(x=[True, False, True])
    expected = [[1], [-1], [1]]
    for new in (
        [True, False, True], pd.array([True, False, True], "boolean"), [1, 0, 1], [1.0, 0.0, 1.0],
        pd.Series([True, False, True], dtype=object), ["1", "0", "1"],
    ):  # fmt: skip
        np.testing.assert_array_equal(plain(X, frame(x=new)), expected)
    np.testing.assert_array_equal(plain(X.to_numpy()), expected)
    np.testing.assert_array_equal(plain(X, categorical_features=None), [[1], [0], [1]])


def test_numbers_and_text_in_one_column_are_text():
    X = frame(x=pd.Series([1, "1", 1.0, "a", 2.5, None], dtype=object))
    encoder, got = encode(X, scaling=None, smooth_clip=None)
    assert encoder.categories_ == [["1", "2.5", "a"]]
    assert got.argmax(axis=1).tolist() == [0, 0, 0, 2, 1, 3]
    # at predict, there may be only numbers
    np.testing.assert_array_equal(plain(X, frame(x=[2.5, 1.0])), [[0, 1, 0, 0], [1, 0, 0, 0]])


def test_numeric_categories_are_sorted_by_value():
    X = np.array([[10.0], [9.0], [-1.5], [np.nan], [10.0]])
    encoder, got = encode(X, categorical_features=[0], max_one_hot=0)
    assert encoder.categories_ == [["-1.5", "9", "10"]]
    np.testing.assert_array_equal(got[:, 0], [3, 2, 1, 0, 3])
    for later in (
        X.astype(np.float32),
        X.astype(object),
        pd.array([10, 9, None], "Int64")[:, None],
    ):
        again = encode(X, later, categorical_features=[0], max_one_hot=0)[1]
        assert again[:2, 0].tolist() == [3, 2]


def test_other_things_as_categories():
    bins, days = pd.cut(pd.Series([1, 5, 9, 1]), 3), pd.Series(_DAYS)
    X = frame(bins=bins, days=days)
    encoder, got = encode(X, categorical_features=[True, True], max_one_hot=0)
    np.testing.assert_array_equal(got, [[1, 5], [2, 6], [3, 7], [1, 8]])
    assert encoder.categories_[1][0] == "2020-01-01 00:00:00"
    new = frame(bins=bins[::-1].to_numpy(), days=days.astype("datetime64[ns]").astype(object))
    assert encoder.transform(read(new), np.float64).tolist() == [[1, 5], [3, 6], [2, 7], [1, 8]]


def test_which_features_are_categorical():
    X = frame(a=[1, 2, 3], b=["x", "y", "z"], c=[4, 5, 6])
    for given in (["b", "c"], [1, 2], [False, True, True], np.array([2, 1])):
        encoder, _ = encode(X, categorical_features=given)
        assert encoder.is_categorical_.tolist() == [False, True, True]
    assert not encode(X[["a"]], categorical_features=None)[0].is_categorical_.any()
    assert not encode(X[["a"]], categorical_features=[])[0].is_categorical_.any()


@pytest.mark.parametrize(
    "given, told",
    [
        (["?"], "categorical_features has an item value"),
        ([7], "categorical_features set as integer indices must be in"),
        ([True], "categorical_features set as a boolean mask"),
        ([1.5], "categorical_features must be an array-like of bool, int or str"),
        ("auto", "categorical_features is 'auto'; expected 'from_dtype'"),
    ],
)
def test_wrong_categorical_features(given, told):
    with pytest.raises(ValueError, match=told):
        encode(frame(a=[1, 2], b=[3, 4]), categorical_features=given)


# --- tables


def test_the_same_bits_alone_and_among_others():
    rng = np.random.RandomState(0)
    n = 2**14 + 5  # more than one block
    X = frame(
        x=rng.standard_cauchy(n), y=np.where(rng.rand(n) < 0.1, np.nan, rng.rand(n)),
        c=rng.choice(list("abcdef"), n), d=rng.randint(1000, size=n).astype(str),
    )  # fmt: skip
    encoder, got = encode(X, dtype=np.float32)
    rows = [0, 5, 2**14 - 1, 2**14, n - 1]
    alone = [encoder.transform(read(X.iloc[[i]]), np.float32)[0] for i in rows]
    np.testing.assert_array_equal(got[rows], alone)
    np.testing.assert_array_equal(encoder.transform(read(X).part(rows), np.float32), alone)
    assert np.abs(got[:, : encoder.n_numeric_]).max() <= 3
    # an array of objects has the same columns
    array = read(X.astype(object).to_numpy())
    np.testing.assert_array_equal(TableEncoder().fit(array).transform(array, np.float32), got)


def test_many_categories_are_found():
    n = 100_000
    values = np.random.RandomState(0).permutation(n)
    encoder, got = encode(frame(x=values.astype(str)))
    np.testing.assert_array_equal(got[:, 0], values + 1)
    assert encoder.counts_ == [n + 1]


def test_columns_named_by_numbers():
    encoder, _ = encode(pd.DataFrame([[1, "a"], [2, "b"], [3, "c"]], columns=[7, 8]))
    assert encoder.feature_names_out_[:2] == ["x0", "x1_a"]


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_frames_of_other_libraries(library):
    pytest.importorskip(library)
    X = frame(
        x=[1.5, 2.5, 9.0], i=[1, 2, 3], c=["a", "b", None], b=[True, False, True], d=_DAYS[:3]
    )
    expected = encode(X)[1]
    if library == "polars":
        other = pytest.importorskip("polars").from_pandas(X)
    else:
        other = pytest.importorskip("pyarrow").Table.from_pandas(X, preserve_index=False)
    np.testing.assert_array_equal(encode(other)[1], expected)
    np.testing.assert_array_equal(encode(X, other)[1], expected)


# --- what is refused


@pytest.mark.parametrize(
    "X",
    [
        frame(good=[1.0, 2.0], bad=[np.inf, 1.0]), frame(bad=[-np.inf]),
        frame(bad=pd.array([1, np.inf], "Float64")), frame(bad=[1e308]),
        frame(bad=pd.Categorical([np.inf, 1.0])), frame(bad=pd.Series([1, np.inf], dtype=object)),
    ],
)  # fmt: skip
def test_infinity_names_the_column(X):
    with pytest.raises(ValueError, match="infinity or a value too large.*the column 'bad'"):
        encode(X)
    good = X.assign(**{name: [float(i) for i in range(len(X))] for name in X})
    with pytest.raises(ValueError, match="infinity or a value too large.*the column 'bad'"):
        encode(good, X, categorical_features=["bad"] if X["bad"].dtype == "category" else None)


def test_numbers_that_are_too_large_for_the_type():
    X = frame(a=[1.0, 2.0], bad=[1e39, 1.0])
    with pytest.raises(ValueError, match="too large for dtype\\('float32'\\).*'bad'"):
        encode(X, dtype=np.float32, smooth_clip=None, scaling=None)
    assert np.abs(encode(X, frame(a=[1e307], bad=[-1e307]), np.float32)[1]).max() <= 3


@pytest.mark.parametrize(
    "X, error, told",
    [
        ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array"),
        (pd.Series([1.0]), ValueError, "Expected a 2-dimensional container"),
        (np.zeros((2, 2, 2)), ValueError, "Found array with dim 3"),
        (np.zeros((0, 2)), ValueError, "Found array with 0 sample"),
        (frame(x=[]), ValueError, "Found array with 0 sample"),
        (pd.DataFrame(index=[1, 2]), ValueError, "0 feature\\(s\\) \\(shape=\\(2, 0\\)\\)"),
        (sp.csr_array(np.eye(2)), TypeError, "toarray"),
        (np.ones((2, 2), complex), ValueError, "Complex data not supported"),
        (frame(x=[1j]), ValueError, "Complex data not supported"),
        (frame(x=pd.Series([1j, "a"], dtype=object)), ValueError, "Complex data not supported"),
        (frame(x=[{}]), TypeError, "'x'.*must be a string or a number"),
        (frame(x=["a", ("b",)]), TypeError, "'x'.*the type tuple.*must be a string or a number"),
        (np.array([[b"a"]]), TypeError, "Decode"),
        ([[1, 2], [3]], ValueError, "X\\[0\\] has shape"),
    ],
)
def test_what_is_refused(X, error, told):
    with pytest.raises(error, match=told):
        encode(X)


def test_text_in_a_numeric_column_names_it():
    X = frame(a=[1.0, 2.0], b=[1.0, 2.0])
    assert plain(X, frame(a=["1.5"], b=[0.0]))[0, 0] == 1.5  # as scikit-learn takes it
    with pytest.raises(ValueError, match="Column 'b' of X .*could not convert string to float"):
        encode(X, frame(a=[1.0], b=["one"]))
    with pytest.raises(ValueError, match="categorical_features"):
        encode(frame(**TEXTS), categorical_features=None)


def test_features_must_be_those_of_fit():
    estimator = BaseEstimator()
    encoder = TableEncoder().fit(read_table(estimator, frame(a=[1, 2], b=["x", "y"]), reset=True))
    assert estimator.feature_names_in_.tolist() == ["a", "b"] and estimator.n_features_in_ == 2
    with pytest.raises(ValueError, match="The feature names should match"):
        read_table(estimator, frame(b=["x"], a=[1]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        read_table(estimator, [[1, "x"]])
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="X has 1 features, but Base"):
        read_table(estimator, [[1]])
    with pytest.raises(ValueError, match="X has 1 features, but TableEncoder is expecting 2"):
        encoder.transform(Table(np.zeros((1, 1))))


def test_more_categories_than_float32_has_numbers(monkeypatch):
    encoder = TableEncoder(max_one_hot=0).fit(read(frame(**TEXTS)))
    encoder.counts_ = [2**24 + 1]
    with pytest.raises(ValueError, match="Use dtype='float64'"):
        encoder.transform(read(frame(**TEXTS)), np.float32)


# --- files


MIXED = frame(
    x=[1.0, None, 3.0, 4.0], t=pd.Series(["b", "\ud800", "c", None], dtype=object),
    u=["p", "q", "type", "p"], flag=[True, False, True, True],
)  # fmt: skip


def stored(encoder):
    tree, tensors = codec.encode(encoder)
    return json.loads(json.dumps(tree)), tensors


@pytest.mark.parametrize("max_one_hot", [0, 3, 9])
def test_encoders_are_stored(max_one_hot):
    encoder, expected = encode(MIXED.iloc[::2], MIXED, max_one_hot=max_one_hot)
    for again in (codec.decode(*stored(encoder)), pickle.loads(pickle.dumps(encoder))):
        np.testing.assert_array_equal(again.transform(read(MIXED), np.float64), expected)
        assert again.feature_names_out_ == encoder.feature_names_out_
        assert again.counts_ == encoder.counts_ and again.n_columns_ == encoder.n_columns_


@pytest.mark.parametrize(
    "name, value",
    [
        ("categories_", [["a", "a"], ["b"], ["c"]]), ("categories_", [["a", 1], ["b"], ["c"]]),
        ("categories_", []), ("names", ["x"]), ("names", None), ("max_one_hot", -1),
        ("max_one_hot", 2), ("smooth_clip", 0.0), ("smooth_clip", "3"), ("medians_", np.zeros(2)),
        ("medians_", np.array([np.nan])), ("medians_", np.array([0])), ("scales_", np.ones(1)),
        ("scales_", np.array(1.0)), ("centers_", np.ones((2, 3))), ("is_categorical_", [True]),
        ("has_missing_", np.zeros(4, bool)), ("has_missing_", np.zeros(3, bool)), ("more", 1),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(name, value):
    state = TableEncoder().fit(read(MIXED)).__getstate__()
    TableEncoder.loaded(**state)
    with pytest.raises((ValueError, TypeError)):
        TableEncoder.loaded(**state | {name: value})


# --- edges


def test_edges_are_quantiles():
    X = np.random.RandomState(0).rand(1000, 3).astype(np.float32)
    edges = quantile_edges(X, 4)
    assert edges.shape == (3, 5) and edges.dtype == np.float64
    np.testing.assert_allclose(edges, np.quantile(X.astype(float), np.linspace(0, 1, 5), axis=0).T)


def test_equal_quantiles_are_bins_without_width():
    X = np.column_stack([[0] * 8 + [1, 2], [0, 1] * 5, [3] * 10, [0] * 5 + [9] * 5])
    edges = quantile_edges(X, 3)
    assert (np.diff(edges) >= 0).all()
    np.testing.assert_array_equal(edges[1:], [[0, 1, 1, 1], [3, 3, 3, 3], [0, 9, 9, 9]])
    many = quantile_edges(np.r_[np.zeros(50), np.arange(1, 51)][:, None], 10)[0]
    assert many[0] == 0 < many[1] and many[-2] < many[-1] == 50  # the outer bins have a width
