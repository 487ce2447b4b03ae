"""Tables as numbers: frames and arrays with numbers, categories, text, dates, missing values.

:func:`read_table` checks what users give, as scikit-learn does. :class:`TableEncoder` makes one
matrix of it. Both go by column, and through rows in blocks, so that only the matrix is large.
"""

from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Complex, Integral, Real

import narwhals as nw
import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_categorical_features, check_array, validate_data

from ..estimator.checks import check_even
from ..files.codec import check_counts, check_types, storable

#: Rows that are encoded at a time.
_BLOCK = 2**14
#: The largest number whose differences from others, and whose quantiles, do not overflow.
_LARGEST = np.finfo(np.float64).max / 4
#: What pandas infers of objects that are numbers, or become numbers.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "complex", "mixed-integer-na"}
_DATES = {"datetime", "datetime64", "date", "period"}
_DURATIONS = {"timedelta", "timedelta64"}
#: What categories may be, besides str and numbers.
_SPELLED = (date, time, timedelta, pd.Period, pd.Interval, np.datetime64, np.timedelta64)


class Table:
    """A table by columns: what :class:`TableEncoder` takes.

    Parameters
    ----------
    values : DataFrame of pandas, or ndarray of shape (n_samples, n_features)
        Of any types; missing values are NaN, None, NaT or NA.
    """

    __slots__ = ("values",)

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    @property
    def shape(self):
        return self.values.shape

    @property
    def labels(self):
        """The columns' names in messages, which are numbers if they have none."""
        return list(getattr(self.values, "columns", range(self.shape[1])))

    def part(self, rows):
        """Return the table of some rows: a slice, a mask, or their numbers."""
        return Table(self.values[rows] if self._is_array else self.values.iloc[rows])

    def column(self, i):
        """Return a column as a Series."""
        if not self._is_array:
            return self.values.iloc[:, i]
        values = self.values[:, i]  # of text and objects: as they are, since pandas would convert
        return pd.Series(values, dtype=object if values.dtype.kind in "OUS" else None)

    def numbers(self, columns):
        """Return columns as numbers, of shape (n_samples, n_columns); missing values are NaN."""
        if self._is_array and self.values.dtype.kind in "fiub":
            # in the order of the columns, since it is mostly one of them, or a block of rows
            found = np.array(self.values[:, columns], np.float64)
        else:
            found, labels = np.empty((len(self), len(columns))), self.labels
            for j, i in enumerate(columns):
                found[:, j] = _as_numbers(self.column(i), labels[i])
        large = (np.abs(found) > _LARGEST).any(axis=0)
        if large.any():
            raise _too_large(self.labels[columns[int(large.argmax())]], np.float64)
        return found

    def categories(self, i):
        """Return a column as numbers of categories, and what these are.

        Returns
        -------
        codes : ndarray of int, of shape (n_samples,)
            The number of each row's category, -1 where it is missing.
        texts : ndarray of object, of shape (n_categories,)
            The categories as text. It may have one several times, as of 1 and '1'.
        """
        column, label = self.column(i), self.labels[i]
        try:
            codes, values = pd.factorize(column)
        except TypeError:  # there are values without a hash, which are no categories
            values = np.asarray(column, dtype=object)
            _texts(values, label)
            raise
        return codes, _texts(np.asarray(values), label)

    @property
    def _is_array(self):
        return isinstance(self.values, np.ndarray)


def read_table(estimator, X, reset=False):
    """Return X as a :class:`Table`, checked as scikit-learn checks it.

    Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator, or compares X with them.

    Parameters
    ----------
    estimator : BaseEstimator
    X : dataframe or array-like of shape (n_samples, n_features)
        A frame of pandas, polars or pyarrow; an array, or lists of lists.
    reset : bool, default=False
        Whether X is what the estimator is fitted to.

    Returns
    -------
    table : Table
        It may share memory with X.
    """
    if not nw.dependencies.is_into_dataframe(X):
        return Table(_read_array(estimator, X, reset))
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    frame = X if isinstance(X, pd.DataFrame) else nw.from_native(X).to_pandas()
    # as many rows and columns as X has, without memory
    check_array(np.broadcast_to(0.0, frame.shape), estimator=estimator)
    for label, dtype in zip(frame.columns, frame.dtypes):
        if getattr(dtype, "kind", None) == "c":
            raise ValueError(f"Complex data not supported\nColumn {label!r} of X is {dtype}.")
    return Table(frame)


def _read_array(estimator, X, reset):
    checks = {"dtype": None, "ensure_all_finite": False}
    try:
        found = validate_data(estimator, X, reset=reset, **checks)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            check_even(X)
        raise
    if found.dtype.kind in "US" and not hasattr(X, "dtype"):
        # NumPy made text of all values of a list, as soon as one of them was
        found = check_array(X, **checks | {"dtype": object}, estimator=estimator)
    return found


def quantile_edges(columns, bins):
    """Return edges of bins with about as many samples each, for piecewise-linear embeddings.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_features)
        Finite numbers.
    bins : int
        Number of bins of each feature.

    Returns
    -------
    edges : ndarray of float64, of shape (n_features, bins + 1)
        Non-decreasing. Where quantiles are the same, there are fewer bins that have a width. Those
        without lie behind the first, which, as the last, goes on beyond its edge.
    """
    shares, edges = np.linspace(0, 1, bins + 1), np.empty((columns.shape[1], bins + 1))
    for i in range(len(edges)):
        unique = np.unique(np.quantile(columns[:, i].astype(np.float64), shares))
        repeated = min(1, len(unique) - 1)
        edges[i] = np.insert(unique, repeated, [unique[repeated]] * (bins + 1 - len(unique)))
    return edges


class TableEncoder:
    """A table as a matrix of numbers for a network, which is learned from the training data.

    The matrix has three groups of columns:

    1. *Numbers*: the numeric features, in their order, then a column for each of them that had
       missing values in `fit`: 1 where the value is missing, else 0. A missing value is replaced
       by the feature's median. Dates and times are the days since 1970-01-01 UTC; durations, days.
    2. *One-hot*: categorical features of few values. A value that is missing is a category of its
       own, the last one, if any were missing in `fit`; else it is all zeros, as is one that was
       not seen in `fit`. A feature of two categories is one column of -1 and 1.
    3. *Categories by number*, for embeddings: categorical features of more values. A value is
       numbered from 1, in sorted order; 0 is missing or not seen in `fit`. To each column, the
       numbers of categories of those before it are added, so that all are tokens of one
       vocabulary.

    All of 1 and 2 is scaled, and then clipped smoothly.

    Categories are compared as text, whatever the column's type and its list of categories: a
    number that is whole is written without a point, and True is 1. So 1, 1.0, True and '1' are the
    same category, also where a column has both numbers and text.

    Parameters
    ----------
    categorical_features : 'from_dtype', array-like or None, default='from_dtype'
        The categorical features, as in :class:`~sklearn.ensemble.HistGradientBoostingClassifier`:
        a mask, indices, or names. 'from_dtype': columns of categories, text or bools, and those
        of objects that are not all numbers or dates. None: all are numbers.
    max_one_hot : int, default=9
        Features of at most this many categories are one-hot. One for missing or unknown values
        counts always, as in pytabkit: with 9, features of up to 8 values.
    smooth_clip : float or None, default=3.0
        c in x / sqrt(1 + (x / c)^2), which keeps numbers between -c and c; None: not clipped.
    scaling : {'robust', None}, default='robust'
        'robust': minus the median, divided by the interquartile range; where that is 0, by half
        of the range; where that is 0 too, the column is 0. None: not scaled.

    Attributes
    ----------
    n_features_in_ : int
        Number of features of the table.
    is_categorical_ : ndarray of bool, of shape (n_features_in_,)
        Which features are categorical.
    has_missing_ : ndarray of bool, of shape (n_features_in_,)
        Which features had missing values in `fit`.
    medians_ : ndarray of shape (n_numeric_features,)
        What replaces missing values of each numeric feature.
    centers_, scales_ : ndarray of shape (n_numeric_ + n_one_hot_,)
        What each column of the first two groups is reduced by, and divided by.
    categories_ : list of list of str
        The values of each categorical feature, sorted; by value, if all are numbers.
    counts_ : list of int
        Number of categories of each column of the third group, with 0 for missing or unknown.
    n_numeric_, n_one_hot_, n_columns_ : int
        Number of columns of the first and the second group, and of all three.
    feature_names_out_ : list of str
        Names of all columns.
    """

    def __init__(
        self, categorical_features="from_dtype", max_one_hot=9, smooth_clip=3.0, scaling="robust"
    ):
        self.categorical_features = categorical_features
        self.max_one_hot = max_one_hot
        self.smooth_clip = smooth_clip
        self.scaling = scaling

    def fit(self, table):
        """Learn the categories, medians and scales of a :class:`Table`; return the encoder."""
        n_features = table.shape[1]
        self._names = [
            label if isinstance(label, str) else f"x{i}" for i, label in enumerate(table.labels)
        ]
        self.is_categorical_ = self._check_categorical(table)
        self.has_missing_ = np.zeros(n_features, bool)
        self.medians_, self.categories_ = np.zeros(int((~self.is_categorical_).sum())), []
        numbers, indicators, one_hot = [], [], []
        for i in np.flatnonzero(~self.is_categorical_):
            column = table.numbers([i])[:, 0]
            missing = np.isnan(column)
            self.has_missing_[i] = missing.any()
            present = column[~missing]
            self.medians_[len(numbers)] = np.median(present) if len(present) else 0.0
            numbers.append(self._scale(present))
            if self.has_missing_[i]:
                indicators.append(self._scale(missing.astype(np.float64)))
        for i in np.flatnonzero(self.is_categorical_):
            codes, texts = table.categories(i)
            self.has_missing_[i] = (codes < 0).any()
            self.categories_.append(_sorted(set(texts.tolist())))
            if self._is_one_hot(self.categories_[-1]):
                values = self._one_hot(self.categories_[-1], self.has_missing_[i])
                rows = _numbered(codes, texts, _index(self.categories_[-1]), len(values) - 1)
                one_hot += [self._scale(column[rows]) for column in values.T]
        self.centers_, self.scales_ = np.array([*numbers, *indicators, *one_hot]).reshape(-1, 2).T
        self._lay_out()
        return self

    def transform(self, table, dtype=np.float32):
        """Return a :class:`Table` as a matrix.

        Parameters
        ----------
        table : Table
        dtype : dtype, default=float32
            float32 or float64.

        Returns
        -------
        matrix : ndarray of shape (n_samples, n_columns_)
            C-contiguous.
        """
        dtype = np.dtype(dtype)
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {table.shape[1]} features, but TableEncoder is expecting "
                f"{self.n_features_in_} features as input."
            )
        most = 2 ** (np.finfo(dtype).nmant + 1)
        if sum(self.counts_) > most:
            raise ValueError(
                f"The categorical features have {sum(self.counts_)} categories; expected at most "
                f"{most}, up to which {dtype.name} has all whole numbers. Use dtype='float64'."
            )
        matrix = np.empty((len(table), self.n_columns_), dtype)
        for first in range(0, len(table), _BLOCK):
            rows = slice(first, first + _BLOCK)
            self._encode(table.part(rows), matrix[rows])
        return matrix

    # --- fitting

    def _check_categorical(self, table):
        """Return which features are categorical."""
        given = self.categorical_features
        if not isinstance(given, str):
            found = _check_categorical_features(table.values, given)
            return np.zeros(table.shape[1], bool) if found is None else np.array(found, bool)
        if given != "from_dtype":
            raise ValueError(
                f"categorical_features is {given!r}; expected 'from_dtype', an array-like of bool, "
                "int or str, or None."
            )
        if isinstance(table.values, np.ndarray) and table.values.dtype.kind in "fiumM":
            return np.zeros(table.shape[1], bool)
        return np.array([_is_categorical(table.column(i)) for i in range(table.shape[1])], bool)

    def _scale(self, values):
        """Return what values are reduced by and divided by."""
        if self.scaling is None:
            return 0.0, 1.0
        if not len(values):
            return 0.0, np.inf
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        spread = high - low or (values.max() - values.min()) / 2
        return median, spread or np.inf

    def _is_one_hot(self, categories):
        return len(categories) + 1 <= self.max_one_hot

    @staticmethod
    def _one_hot(categories, has_missing):
        """Return the columns of an unknown value, each category, and a missing value."""
        n = len(categories) + int(has_missing)
        values = np.zeros((len(categories) + 2, 1 if n == 2 else n))
        values[1 : n + 1] = [[-1], [1]] if n == 2 else np.eye(n)
        return values

    def _lay_out(self):
        """Set what follows from the rest, which is what is stored."""
        numeric, categorical = map(np.flatnonzero, (~self.is_categorical_, self.is_categorical_))
        indicators = numeric[self.has_missing_[numeric]]
        self.n_features_in_ = len(self.is_categorical_)
        self.n_numeric_ = start = len(numeric) + len(indicators)
        names = [self._names[i] for i in numeric]
        names += [f"missingindicator_{self._names[i]}" for i in indicators]
        self.counts_, embedded = [], []
        #: For each categorical feature: its number, an index of its categories, the number of a
        #: missing value, and either the scaled one-hot rows and their place, or the offset.
        self._columns = []
        for i, categories in zip(categorical, self.categories_):
            index, name = _index(categories), self._names[i]
            if not self._is_one_hot(categories):
                self._columns.append((i, index, 0, None, sum(self.counts_)))
                self.counts_.append(len(categories) + 1)
                embedded.append(name)
                continue
            rows = self._one_hot(categories, self.has_missing_[i])
            place = slice(start, start + rows.shape[1])
            self._clip(rows, place)
            self._columns.append((i, index, len(rows) - 1, rows, place))
            start = place.stop
            of = [*categories, "nan"] if self.has_missing_[i] else categories
            names += [name] if len(of) == 2 else [f"{name}_{one}" for one in of]
        self.n_one_hot_ = start - self.n_numeric_
        self.n_columns_ = start + len(self.counts_)
        self.feature_names_out_ = names + embedded

    # --- encoding

    def _encode(self, table, matrix):
        """Write a block of rows to the matrix."""
        numeric = np.flatnonzero(~self.is_categorical_)
        values = np.empty((len(table), self.n_numeric_))
        values[:, : len(numeric)] = table.numbers(numeric)
        missing = np.isnan(values[:, : len(numeric)])
        values[:, len(numeric) :] = missing[:, self.has_missing_[numeric]]
        np.copyto(values[:, : len(numeric)], self.medians_, where=missing)
        self._clip(values, slice(self.n_numeric_))
        with np.errstate(over="ignore"):  # which is an error below
            matrix[:, : self.n_numeric_] = values
        if self.smooth_clip is None:
            finite = np.isfinite(matrix[:, : len(numeric)]).all(axis=0)
            if not finite.all():
                raise _too_large(table.labels[numeric[int(finite.argmin())]], matrix.dtype)
        column = self.n_columns_ - len(self.counts_)
        for i, index, missing, rows, place in self._columns:
            found = _numbered(*table.categories(i), index, missing)
            if rows is not None:
                matrix[:, place] = rows[found]
            else:
                matrix[:, column] = found + place
                column += 1

    def _clip(self, values, columns):
        """Scale and clip values of some columns, in place."""
        values -= self.centers_[columns]
        with np.errstate(over="ignore"):
            values /= self.scales_[columns]
        if self.smooth_clip is not None:
            c = float(self.smooth_clip)
            np.clip(values, -1e15 * c, 1e15 * c, out=values)  # so that squares do not overflow
            values /= np.sqrt(1 + np.square(values / c))

    # --- in files

    def __getstate__(self):
        state = {name: getattr(self, name) for name in _STORED}
        return state | {"names": self._names}

    def __setstate__(self, state):
        state = dict(state)
        self._names = state.pop("names")
        vars(self).update(state)
        self.categorical_features = self.is_categorical_
        self._lay_out()

    @classmethod
    def loaded(cls, names, **state):
        """Return the encoder that a file describes, checked."""
        made = cls.__new__(cls)
        vars(made).update(state)
        made._names = names
        made._check_loaded(state)
        made.__setstate__(state | {"names": names})
        agree = len(made.centers_) == made.n_numeric_ + made.n_one_hot_
        if not agree or len(made.scales_) != len(made.centers_):
            raise ValueError("The centers and scales of TableEncoder are not one for each column.")
        return made

    def _check_loaded(self, state):
        if set(state) != set(_STORED):
            raise ValueError(f"TableEncoder has {sorted(state)!r:.200}; expected {_STORED}.")
        kinds = {name: (state[name], np.ndarray) for name in _ARRAYS} | {
            "categories_": (self.categories_, list),
            "names": (self._names, list),
            "smooth_clip": (self.smooth_clip, (float, type(None))),
            "scaling": (self.scaling, (str, type(None))),
        }
        check_types("TableEncoder", kinds)
        check_counts("TableEncoder", max_one_hot=self.max_one_hot)
        for name, kind in _ARRAYS.items():
            if state[name].dtype != kind or state[name].ndim != 1:
                raise ValueError(f"{name} of TableEncoder has another type or shape.")
        n_categorical = int(self.is_categorical_.sum())
        for name, one, length in (
            ("has_missing_", self.has_missing_, len(self.is_categorical_)),
            ("names", self._names, len(self.is_categorical_)),
            ("categories_", self.categories_, n_categorical),
            ("medians_", self.medians_, len(self.is_categorical_) - n_categorical),
        ):
            if len(one) != length:
                raise ValueError(f"{name} of TableEncoder has {len(one)} items, not {length}.")
        for texts in (self._names, *self.categories_):
            if type(texts) is not list or not all(type(text) is str for text in texts):
                raise TypeError("A name or category of TableEncoder is no str.")
        if any(len(set(texts)) < len(texts) for texts in self.categories_):
            raise ValueError("TableEncoder has a category twice.")
        finite = np.isfinite(self.medians_).all() and np.isfinite(self.centers_).all()
        good = self.smooth_clip is None or 0 < self.smooth_clip < np.inf
        if not finite or not (self.scales_ > 0).all() or not good:
            raise ValueError(
                "medians_, centers_, scales_ or smooth_clip of TableEncoder has NaN, infinity, or "
                "something that is not positive."
            )


#: What is stored of an encoder, besides the names of the features.
_ARRAYS = {
    "is_categorical_": bool, "has_missing_": bool, "medians_": np.float64, "centers_": np.float64,
    "scales_": np.float64,
}  # fmt: skip
_STORED = ("max_one_hot", "smooth_clip", "scaling", "categories_", *_ARRAYS)
storable(TableEncoder, TableEncoder.__getstate__, TableEncoder.loaded)


# --- columns


def _is_categorical(column):
    """Return whether a column's type, or that of its objects, is not one of numbers."""
    types, dtype = pd.api.types, column.dtype
    if types.is_bool_dtype(dtype) or isinstance(dtype, (pd.CategoricalDtype, pd.StringDtype)):
        return True
    if types.is_numeric_dtype(dtype) or _is_time(dtype):
        return False
    kind = types.infer_dtype(column.astype(object), skipna=True)
    return kind not in _NUMBERS | _DATES | _DURATIONS


def _is_time(dtype):
    types = pd.api.types
    time = types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype)
    return time or isinstance(dtype, pd.PeriodDtype)


def _as_numbers(column, label):
    """Return a Series as numbers; missing values are NaN."""
    dtype, types = column.dtype, pd.api.types
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return column.to_numpy()
    if isinstance(dtype, pd.CategoricalDtype):
        categories = _as_numbers(pd.Series(column.cat.categories), label)
        return np.append(categories.astype(np.float64), np.nan)[column.cat.codes]
    if types.is_numeric_dtype(dtype) and dtype.kind != "c":
        return column.to_numpy(np.float64, na_value=np.nan)
    kind = types.infer_dtype(column, skipna=True)
    try:
        if kind == "period" or isinstance(dtype, pd.PeriodDtype):
            column = column.astype(object).map(pd.Period.to_timestamp, na_action="ignore")
        if kind in _DATES or types.is_datetime64_any_dtype(dtype):
            dates = pd.to_datetime(column, utc=True).to_numpy("datetime64[us]")
            return (dates - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        if kind in _DURATIONS or types.is_timedelta64_dtype(dtype):
            return pd.to_timedelta(column).to_numpy("timedelta64[us]") / np.timedelta64(1, "D")
        found, present = np.full(len(column), np.nan), column.notna().to_numpy()
        found[present] = column[present].to_numpy(object).astype(np.float64)
        return found
    except (TypeError, ValueError) as error:
        kind = type(error) if type(error) in (TypeError, ValueError) else ValueError
        raise kind(
            f"Column {label!r} of X has something else than numbers: {error}. Expected numbers; "
            "name columns of categories in categorical_features."
        ) from None


def _texts(values, label):
    """Return categories as text, in an array of objects."""
    if values.dtype.kind in "iub":
        return (values * 1).astype(str).astype(object)
    found = np.empty(len(values), object)
    if pd.api.types.infer_dtype(values, skipna=False) == "string":
        found[:] = values
    else:
        objects = values if values.dtype.kind == "O" else pd.Index(values)
        found[:] = [_text(value, label) for value in objects]
    return found


def _text(value, label):
    """Return a category as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_, Integral)):
        return str(int(value))
    if isinstance(value, (Real, Decimal)):
        number = float(value)
        if np.isinf(number):
            raise _too_large(label, np.float64)
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, _SPELLED):
        return str(value)
    what = f"Column {label!r} of X has {value!r:.100}, of the type {type(value).__name__}"
    if isinstance(value, Complex):
        raise ValueError(f"Complex data not supported\n{what}.")
    more = " Decode it first, as in value.decode('utf-8')." * isinstance(value, bytes)
    raise TypeError(f"{what}: the argument must be a string or a number.{more}")


def _sorted(texts):
    """Return categories in their order, which is that of their values if all are numbers."""
    texts = sorted(texts)
    numbers = pd.to_numeric(_index(texts), errors="coerce")
    if not np.isfinite(numbers).all():
        return texts
    return [texts[i] for i in np.argsort(numbers, kind="stable")]


def _index(categories):
    return pd.Index(categories, dtype=object)


def _numbered(codes, texts, index, missing):
    """Return the numbers of categories: from 1 as in the index, 0 if they are not there."""
    return np.append(index.get_indexer(_index(texts)) + 1, missing)[codes]  # the last: code -1


def _too_large(label, dtype):
    return ValueError(
        f"Input X contains infinity or a value too large for {np.dtype(dtype)!r}, in the column "
        f"{label!r}; expected finite numbers, and NaN where they are missing."
    )
