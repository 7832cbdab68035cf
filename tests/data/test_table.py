"""Data frames as a matrix and back: every dtype, gaps, categories, and what is refused."""

import datetime
import pickle
from decimal import Decimal

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from skops.io import dumps, get_untrusted_types, loads

from sklearn_vae._data.table import Table, is_table

PANDAS = {
    "float64": [1.5, None, np.inf],
    "float32": [1.1, None, -np.inf],
    "float16": [1.5, None, 2],
    "int64": [2**53, -(2**53), 3],
    "uint8": [0, 255, 7],
    "Int64": [1, None, 3],
    "UInt16": [1, None, 3],
    "Float32": [1.1, None, 3],
    "Float64": [1.1, None, 3],
    "bool": [True, False, True],
    "boolean": [True, None, False],
    "object": ["b", None, "a"],
    "object booleans": [True, None, False],
    "object integers": [1, None, 2],
    "object floats": [1.5, None, 2],
    "object gaps": [None, None, None],
    "string": ["b", None, "a"],
    "category": ["b", None, "a"],
}
CATEGORIES = {
    "reversed": pd.CategoricalDtype(["b", "a"]),
    "ordered": pd.CategoricalDtype(["b", "unused", "a"], ordered=True),
    "objects": pd.CategoricalDtype(pd.Index(["a", "b"], dtype=object)),
}
NUMBERED = {
    "integers": pd.Categorical([3, None, 1], categories=[3, 1, 7], ordered=True),
    "floats": pd.Categorical([0.5, None, 2.0]),
    "booleans": pd.Categorical([True, None, False]),
}
STRINGS = {"str": ["b", None, "a"], "python": pd.array(["b", None, "a"], dtype=pd.StringDtype("python"))}
POLARS = {
    pl.Float64: [1.5, None, np.inf],
    pl.Float32: [1.5, None, 2],
    pl.Int64: [2**53, None, 3],
    pl.UInt8: [0, None, 255],
    pl.Boolean: [True, None, False],
    pl.String: ["b", None, "a"],
    pl.Categorical: ["b", None, "a"],
    pl.Enum(["b", "unused", "a"]): ["b", None, "a"],
    pl.Null: [None, None, None],
}
ARROW = {
    "double": [1.5, None, 2],
    "float": [1.5, None, 2],
    "int8": [1, None, 2],
    "uint64": [1, None, 2],
    "bool": [True, None, False],
    "string": ["b", None, "a"],
    "large_string": ["b", None, "a"],
}


def pandas_frames():
    for name, values in PANDAS.items():
        yield name, pd.Series(values, dtype=name.split()[0])
    for name, dtype in CATEGORIES.items():
        yield name, pd.Series(["b", None, "a"], dtype=dtype)
    for name, values in (NUMBERED | STRINGS).items():
        yield name, pd.Series(values)


def frames():
    yield from (pytest.param(pd.DataFrame({"x": s}, index=[5, 3, 9]), id=name) for name, s in indexed())
    yield from (pytest.param(pl.DataFrame({"x": pl.Series(v, dtype=d)}), id=f"{d}") for d, v in POLARS.items())


def indexed():
    return ((name, series.set_axis([5, 3, 9])) for name, series in pandas_frames())


def assert_equal(X, expected):
    (assert_frame_equal if isinstance(X, pd.DataFrame) else assert_polars_equal)(X, expected)


def simple(library=pd):
    """A frame with a column of each kind, without gaps."""
    return library.DataFrame({"c": ["a", "b", "a"], "f": [1.5, 2.0, -1.0], "b": [True, False, True], "i": [1, 5, 3]})


KINDS = ["category", "float", "boolean", "integer"]
# A matrix for `simple`, whose columns are two of "c" and one each of "f", "b" and "i".
VALUES = np.array([[0.1, 0.9, 0.25, 0.7, 9.7], [0.6, 0.4, np.inf, 0.2, -3.0], [0.0, 1.0, 7.0, 0.5, 2.5]])


@pytest.mark.parametrize("X", frames())
def test_decode_inverts_encode(X):
    table = pickle.loads(pickle.dumps(Table.learn(X)))
    values = table.encode(X)
    assert values.dtype == np.float64 and values.shape == (3, table.n_columns)
    assert_equal(table.decode(values), X.reset_index(drop=True) if isinstance(X, pd.DataFrame) else X)


@pytest.mark.parametrize("X", frames())
def test_fill_replaces_missing_cells_and_keeps_the_dtype(X):
    table = Table.learn(X)
    filled = table.fill(X, np.ones((3, table.n_columns)))
    missing, left = (nw.from_native(frame)["x"].is_null().to_numpy() for frame in (X, filled))
    assert not left.any() or table.n_columns == 0
    assert nw.from_native(filled)["x"].to_native().dtype == nw.from_native(X)["x"].to_native().dtype
    kept, expected = (nw.from_native(frame).filter((~missing).tolist()).to_native() for frame in (filled, X))
    assert_equal(kept, expected)


@pytest.mark.parametrize("dtype", [*ARROW, "dictionary"])
def test_arrow_columns_come_back(dtype):
    pa = pytest.importorskip("pyarrow")
    arrow = pa.dictionary(pa.int32(), pa.string()) if dtype == "dictionary" else pa.type_for_alias(dtype)
    X = pd.DataFrame({"x": pd.array(ARROW.get(dtype, ["b", None, "a"]), dtype=pd.ArrowDtype(arrow))})
    table = pickle.loads(pickle.dumps(Table.learn(X)))
    assert_frame_equal(table.decode(table.encode(X)), X)
    filled = table.fill(X, np.ones((3, table.n_columns)))
    assert filled["x"].dtype == X["x"].dtype and filled["x"].notna().all()


@pytest.mark.parametrize("library", [pd, pl])
def test_encode_writes_one_hot_blocks(library):
    X = simple(library)
    table = Table.learn(X)
    expected = [[1, 0, 1.5, 1, 1], [0, 1, 2, 0, 5], [1, 0, -1, 1, 3]]
    assert_array_equal(table.encode(X), expected)
    assert [column.kind for column in table.columns] == KINDS
    assert [(column.start, column.stop) for column in table.columns] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert table.columns[0].categories == ["a", "b"]
    assert list(table.feature_names_in_) == list("cfbi") and table.n_features_in_ == 4


def test_unused_categories_have_an_empty_column():
    X = pd.DataFrame({"x": pd.Categorical(["b", None], categories=["b", "unused", "a"])})
    assert_array_equal(Table.learn(X).encode(X), [[1, 0, 0], [np.nan] * 3])


def test_gaps_of_every_kind_are_nan():
    X = pd.DataFrame({"f": [np.nan, 1.0], "I": pd.array([pd.NA, 1], dtype="Int8")})
    X["s"] = pd.Series([None, "a"], dtype=object)
    X["t"] = pd.Series([np.nan, "a"], dtype=object)
    X["u"] = pd.Series([pd.NA, "a"], dtype=object)
    assert_array_equal(Table.learn(X).encode(X), [[np.nan] * 5, [1] * 5])
    Y = pl.DataFrame({"f": [float("nan"), 1.0], "g": [None, 1.0]})
    assert_array_equal(Table.learn(Y).encode(Y), [[np.nan] * 2, [1] * 2])


def test_a_column_without_values_takes_no_part():
    X = pd.DataFrame({"x": [1.0, 2.0], "empty": pd.Series([None, None], dtype=object)})
    table = Table.learn(X)
    assert table.n_columns == 1 and table.columns[1].slice == slice(1, 1)
    assert_frame_equal(table.decode(np.array([[1.0], [2.0]])), X)
    assert_frame_equal(table.fill(X, np.zeros((2, 1))), X)


@pytest.mark.parametrize("library", [pd, pl])
def test_decode_rounds_clips_and_takes_the_largest(library):
    expected = library.DataFrame(
        {"c": ["b", "a", "b"], "f": [0.25, np.inf, 7.0], "b": [True, False, True], "i": [5, 1, 2]}
    )
    assert_equal(Table.learn(simple(library)).decode(VALUES), expected)


@pytest.mark.parametrize("limits", [(2**63 - 1, 1), (2**64 - 1, 0), (-(2**63), -1)])
def test_decode_keeps_large_integers_within_their_limits(limits):
    X = pd.DataFrame({"x": np.array(limits, dtype=np.int64 if min(limits) < 0 or max(limits) < 2**63 else np.uint64)})
    decoded = Table.learn(X).decode(np.array([[-1e300], [1e300]]))["x"]
    assert min(limits) <= decoded[0] <= decoded[1] <= max(limits)
    assert decoded.dtype == X["x"].dtype and decoded[1] - decoded[0] > 0.999 * (max(limits) - min(limits))


def test_decode_keeps_integers_beyond_64_bits_within_them():
    X = pd.DataFrame({"x": pd.Series([2**70, None, -(2**70)], dtype=object)})
    decoded = Table.learn(X).decode(np.array([[2.0**70], [7.0], [-(2.0**70)]]))["x"]
    assert decoded.tolist() == [2**63 - 1024, 7, -(2**63)]


def test_decode_of_part_of_a_block_uses_its_numbers():
    X = pd.DataFrame({"x": ["a", "b", "c"]})
    decoded = Table.learn(X).decode(np.array([[np.nan, 0.1, 0.2], [np.nan] * 3, [0.1, -np.inf, np.nan]]))
    assert decoded["x"].fillna("missing").tolist() == ["c", "missing", "a"]


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_decode_refuses_gaps_in_numpy_columns(dtype):
    table = Table.learn(pd.DataFrame({"x": np.array([0, 1], dtype=dtype)}))
    with pytest.raises(ValueError, match=f"column 'x', because its dtype {dtype} cannot hold them, got 1; fit on"):
        table.decode(np.array([[np.nan], [1.0]]))


def test_fill_keeps_every_bit_of_observed_cells():
    numbers = np.array([0x7FEFFFFFFFFFFFFF, 0x8000000000000000, 1, 0x7FF8000000000000], dtype=np.uint64).view(
        np.float64
    )
    X = pd.DataFrame({"f": numbers, "i": pd.array([2**63 - 1, -(2**63), 2**53 + 1, None], dtype="Int64")})
    before = X.copy()
    filled = Table.learn(X).fill(X, np.full((4, 2), 0.5))
    assert filled["f"].to_numpy()[:3].tobytes() == numbers[:3].tobytes() and filled["f"][3] == 0.5
    assert filled["i"].tolist() == [2**63 - 1, -(2**63), 2**53 + 1, 0]
    filled.loc[0, "f"] = 1.0
    assert_frame_equal(X, before)


def test_fill_rounds_only_integers():
    X = pd.DataFrame({"f": [1.0, np.nan], "i": [1, 4]})
    filled = Table.learn(X).fill(X.assign(i=[np.nan, 2.5]), np.array([[0.0, 2.4], [1.7, 0.0]]))
    assert filled["f"].tolist() == [1.0, 1.7]
    assert filled["i"].tolist() == [2.0, 2.5] and filled["i"].dtype == float


def test_fill_follows_the_dtype_of_the_frame():
    X = simple().assign(
        f=pd.array([None, 4, None], dtype="Int8"), b=pd.array([None, 1, 0], dtype="Int64"), i=[np.nan, 2.5, 1]
    )
    X["c"] = pd.Categorical(["a", "b", None], categories=["b", "a", "z"])
    filled = Table.learn(simple()).fill(X, VALUES)
    assert (
        filled["f"].tolist() == [0, 4, 7] and filled["b"].tolist() == [1, 1, 0] and filled["i"].tolist() == [5, 2.5, 1]
    )
    assert filled["c"].tolist() == ["a", "b", "b"]
    assert filled.dtypes.equals(X.dtypes)


def test_fill_replaces_nan_and_null_of_polars():
    X = pl.DataFrame({"f": [float("nan"), None, 1.0]})
    assert Table.learn(X).fill(X, np.array([[2.0], [np.nan], [3.0]]))["f"].to_list() == [2.0, None, 1.0]


@pytest.mark.parametrize("library", [pd, pl])
def test_unknown_categories_are_not_observed(library):
    X = library.DataFrame({"x": ["a", "b"], "y": ["p", "q"]})
    table = Table.learn(X)
    new = library.DataFrame({"x": ["b", "z"], "y": ["r", "q"]})
    with pytest.warns(
        UserWarning, match="got 'z' in column 'x'; 'r' in column 'y'; these cells count as not"
    ) as record:
        values = table.encode(new)
    assert len(record) == 1 and record[0].filename == __file__
    assert_array_equal(values, [[0, 1, np.nan, np.nan], [np.nan, np.nan, 0, 1]])
    with pytest.raises(ValueError, match="expected the categories that fit saw, got 'z' in column 'x'"):
        table.encode(new, handle_unknown="error")
    assert_equal(table.fill(new, values), new)


def test_messages_show_a_few_unknown_categories():
    table = Table.learn(pd.DataFrame({"x": ["a", "b"]}))
    with pytest.raises(ValueError, match="got '1', '2', '3' and 5 more in column 'x'; replace"):
        table.encode(pd.DataFrame({"x": list("12345678")}), "error")


def test_encode_takes_other_dtypes_and_libraries():
    table = Table.learn(simple())
    expected = table.encode(simple())
    for X in (
        simple().astype({"c": object, "f": "float32", "b": object, "i": float}),
        simple().astype({"c": "category", "f": "Float64", "b": "boolean", "i": "Int8"}),
        simple().astype({"c": "string", "b": int}),
        simple(pl),
        simple(pl).with_columns(pl.col("c").cast(pl.Categorical)),
    ):
        assert_array_equal(table.encode(X), expected)
    nans = simple(pl).with_columns(b=pl.Series([1.0, float("nan"), None]))
    assert_array_equal(Table.learn(simple(pl)).encode(nans)[:, 3], [1, np.nan, np.nan])
    gaps = simple().assign(c=[np.nan] * 3, i=[np.nan, 5, 3], b=pd.Series([None, False, True], dtype=object))
    assert_array_equal(np.isnan(table.encode(gaps))[0], [True, True, False, True, True])


def test_numbers_are_categories_of_a_column_of_numbered_categories():
    table = Table.learn(pd.DataFrame({"x": pd.Categorical([3, 1], categories=[3, 1])}))
    assert_array_equal(table.encode(pd.DataFrame({"x": [1.0, 3.0]})), [[0, 1], [1, 0]])
    filled = table.fill(pd.DataFrame({"x": [1.0, np.nan]}), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert filled["x"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X: X[["f", "c", "b", "i"]], "Feature names must be in the same order as they were in fit"),
        (lambda X: X.rename(columns={"f": "g"}), "Feature names unseen at fit time:\n- g"),
        (lambda X: X.drop(columns="f"), "seen at fit time, yet now missing:\n- f"),
        (lambda X: X.assign(f=["p", "q", None]), "'f' to hold floats, as in fit, got dtype .* with values 'p', 'q'"),
        (lambda X: X.assign(c=[1, 2, 3]), "'c' to hold categories, as in fit, got dtype int64 with values 1, 2, 3"),
        (lambda X: X.assign(b=[0, 1, 2]), "'b' to hold booleans or the numbers 0 and 1, as in fit, got 2.0; convert"),
    ],
)  # fmt: skip
def test_encode_refuses_other_columns(change, message):
    with pytest.raises(ValueError, match=message):
        Table.learn(simple()).encode(change(simple()))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X: X.assign(c=[np.nan] * 3), "column 'c' to hold categories, as in fit, got dtype float64; convert it"),
        (
            lambda X: X.assign(f=pd.Series([None] * 3, dtype="string")),
            "column 'f' to hold floats, as in fit, got dtype",
        ),
        (lambda X: X.assign(c=pd.Categorical(["a", "a", None])), "'c' of a dtype that lists .* got one without 'b'"),
        (lambda X: pl.DataFrame(X.to_dict("list")).with_columns(c=None), "column 'c' to hold .*, got dtype Null"),
        (lambda X: X.assign(f=pd.Series(["p", None, None], dtype=object)), "column 'f' to hold floats, as in fit"),
        (lambda X: X[:2], "expected values with a row for each of the 2 rows of X, got 3"),
    ],
)
def test_fill_refuses_other_dtypes(change, message):
    with pytest.raises(ValueError, match=message):
        Table.learn(simple()).fill(change(simple()), VALUES)


REFUSED = {
    "dates": (pd.to_datetime(["2020-01-01"]), TypeError, "'x' of dtype datetime64.*; convert it to numbers such"),
    "durations": (pd.to_timedelta([1]), TypeError, "total_seconds"),
    "periods": (pd.period_range("2020", periods=1), TypeError, "'x' of dtype period.*; convert it to one of these"),
    "complex": ([1j], TypeError, "dtype complex128; give its real"),
    "sparse": (pd.arrays.SparseArray([0.0]), TypeError, "convert it with .sparse.to_dense()"),
    "mixed": ([1, "a", 2, "b"], TypeError, "object column 'x' to hold only strings.* got int and str: 2, 'b'; convert"),
    "mixed at the end": (["a"] * 200 + [1], TypeError, "got int and str: 'a', 1; convert"),
    "booleans and integers": ([True, 2], TypeError, "got bool and int: True, 2"),
    "bytes": ([b"a"], TypeError, "got bytes"),
    "lists": ([[1]], TypeError, "got list"),
    "decimals": ([Decimal(1)], TypeError, "got Decimal"),
    "intervals": (pd.cut([1, 2], 2), TypeError, r"got Interval.* in column 'x'; convert them to strings"),
    "many": ([str(i) for i in range(1001)], ValueError, "at most 1000 categories in a column, got 1001 in column 'x'"),
    "many unused": (pd.Categorical([0], categories=range(1001)), ValueError, "remove unused ones"),
    "polars dates": (pl.Series([datetime.date(2020, 1, 1)]), TypeError, "dtype Date; convert it to numbers such as"),
    "polars lists": (pl.Series([[1]]), TypeError, "give each element a column"),
    "polars structs": (pl.Series([{"a": 1}]), TypeError, "give each field a column"),
    "polars decimals": (pl.Series([Decimal(1)]), TypeError, "convert it to floats"),
    "polars objects": (pl.Series([object()], dtype=pl.Object), TypeError, "dtype Object; convert it to one of these"),
}  # fmt: skip


@pytest.mark.parametrize("values, error, message", REFUSED.values(), ids=REFUSED)
def test_learn_refuses_what_has_no_kind(values, error, message):
    library = pl if isinstance(values, pl.Series) else pd
    with pytest.raises(error, match=message):
        Table.learn(library.DataFrame({"x": values}))


def test_learn_refuses_names_that_are_not_distinct_or_partly_strings():
    with pytest.raises(ValueError, match="expected columns with different names, got 'a' more than once"):
        Table.learn(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        Table.learn(pd.DataFrame([[1, 2]], columns=["a", 1]))


@pytest.mark.parametrize("X", [np.ones((2, 2)), pd.Series([1.0]), pl.LazyFrame({"x": [1]})])
def test_table_refuses_what_is_not_a_frame(X):
    with pytest.raises(TypeError, match=f"expected a pandas or polars data frame, got {type(X).__name__}"):
        Table.learn(X)
    assert not is_table(X)


def test_columns_may_have_numbers_as_names():
    X = pd.DataFrame({0: ["a", None], 1: [1.0, np.nan]})
    table = Table.learn(X)
    assert_frame_equal(table.decode(table.encode(X)), X)
    assert table.feature_names_in_ is None
    assert table.fill(X, np.zeros((2, 2))).to_numpy().tolist() == [["a", 1.0], ["a", 0.0]]
    with pytest.raises(ValueError, match="X has 1 features, but Table is expecting 2 features"):
        table.encode(X[[0]])


def test_wrong_arguments_are_refused():
    table = Table.learn(simple())
    with pytest.raises(ValueError, match=r"handle_unknown to be one of \('warn', 'error'\), got 'drop'"):
        table.encode(simple(), "drop")
    for values in (np.ones((3, 4)), np.ones(5)):
        with pytest.raises(ValueError, match=r"expected values of shape \(n_rows, 5\), as encoded"):
            table.decode(values)


@pytest.mark.parametrize("library", [pd, pl])
def test_is_table_tells_frames_of_numbers_apart(library):
    assert is_table(simple(library))
    assert is_table(simple(library)[["b"]])
    assert not is_table(simple(library)[["f", "i"]])
    assert not is_table(library.DataFrame())


def test_is_table_leaves_numbers_to_scikit_learn():
    assert not is_table(pd.DataFrame({"x": pd.array([1, None], dtype="Int64"), "y": pd.arrays.SparseArray([0.0, 1.0])}))
    assert not is_table(pd.DataFrame({"x": np.ones(2, dtype=np.float16)}))
    assert is_table(pd.DataFrame({"x": pd.Series([1.0, None], dtype=object)}))
    assert is_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_frame_without_rows_comes_back():
    X = simple()[:0]
    table = Table.learn(simple())
    assert_frame_equal(table.decode(table.encode(X)), X, check_index_type=False)
    assert Table.learn(X).n_columns == 3


@pytest.mark.parametrize("X", [simple(), simple(pl), pd.DataFrame({"x": NUMBERED["integers"]})])
def test_a_table_consists_of_plain_values(X):
    table = Table.learn(X)
    saved = dumps(table)
    untrusted = get_untrusted_types(data=saved)
    assert all(name.startswith("sklearn_vae.") for name in untrusted)
    assert loads(saved, trusted=untrusted) == table == pickle.loads(pickle.dumps(table))


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=20), st.booleans())
def test_any_strings_come_back(strings, polars):
    X = (
        pl.DataFrame({"x": pl.Series(strings, dtype=pl.String)})
        if polars
        else pd.DataFrame({"x": strings}, dtype=object)
    )
    table = Table.learn(X)
    values = table.encode(X)
    assert_equal(table.decode(values), X)
    assert_array_equal(np.nansum(values, axis=1), [string is not None for string in strings])


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=20), st.booleans())
def test_any_floats_come_back_and_are_kept(numbers, polars):
    library = pl if polars else pd
    X = library.DataFrame({"x": library.Series(numbers, dtype=pl.Float64 if polars else float)})
    table = Table.learn(X)
    assert_equal(table.decode(table.encode(X)), X)
    filled = table.fill(X, np.full((len(numbers), 1), 0.5))["x"].to_list()
    assert filled == [0.5 if number is None else number for number in numbers]
