"""Kinds of columns in data frames: floats, integers, booleans or categories."""

from __future__ import annotations

import narwhals.stable.v2 as nw

from sklearn_vae._data.frame_dtypes import module_of

# Number of values that messages show.
N_EXAMPLES = 3
# Kinds of columns that have one column in the matrix.
NUMBERS = ("float", "integer", "boolean")
# Kinds of numpy's and pandas' dtypes, by their character code.
KINDS_BY_CODE = {"f": "float", "i": "integer", "u": "integer", "b": "boolean"}
# Kinds of object columns, by what pandas infers from all their values.
KINDS_OF_OBJECTS = {
    "string": "category",
    "empty": "category",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "float",
    "mixed-integer-float": "float",
}
# What to do with columns that have no kind, by the name of their dtype in narwhals.
REMEDIES = {
    "Date": "convert it to numbers such as its year, month and day, or drop it",
    "Datetime": "convert it to numbers such as its year, month and hour, or drop it",
    "Time": "convert it to a number such as its hour, or drop it",
    "Duration": "convert it to numbers with .dt.total_seconds(), or drop it",
    "List": "give each element a column of its own, or drop it",
    "Array": "give each element a column of its own, or drop it",
    "Struct": "give each field a column of its own, or drop it",
    "Decimal": "convert it to floats",
    "Int128": "convert it to floats or 64-bit integers",
    "UInt128": "convert it to floats or 64-bit integers",
    "Sparse": "convert it with .sparse.to_dense()",
    "Complex": "give its real and its imaginary part a column each",
}


def kind_of(series: nw.Series) -> str:
    """Return the kind of a column: "float", "integer", "boolean" or "category".

    Raises
    ------
    TypeError
        If the column has none of these kinds, such as dates, or values of several types.
    """
    native = series.to_native()
    code, name = getattr(native.dtype, "kind", None), type(series.dtype).__name__
    if code == "O" and name in ("Object", "String"):
        return _kind_of_objects(series)
    if str(native.dtype).startswith("Sparse"):
        name = "Sparse"
    elif code == "c":
        name = "Complex"
    elif name in ("String", "Categorical", "Enum") or str(native.dtype) == "Null":
        return "category"
    elif name not in REMEDIES:
        kind = "float" if series.dtype.is_float() else "integer" if series.dtype.is_integer() else None
        kind = "boolean" if name == "Boolean" else kind or KINDS_BY_CODE.get(str(code))
        if kind is not None:
            return kind
    raise TypeError(
        f"expected columns of numbers, booleans, strings or categories, got column {series.name!r} of dtype "
        f"{native.dtype}; {REMEDIES.get(name, 'convert it to one of these, or drop it')}."
    )


def has_number_dtype(series: nw.Series) -> bool:
    """Return whether a column's dtype is one of floats or integers, sparse ones included."""
    return series.dtype.is_numeric() or getattr(series.to_native().dtype, "kind", None) in ("f", "i", "u")


def show(values: list) -> str:
    """Return a few values, and the number of others, for a message."""
    shown = ", ".join(repr(value) for value in values[:N_EXAMPLES])
    return shown + (f" and {len(values) - N_EXAMPLES} more" if len(values) > N_EXAMPLES else "")


def _kind_of_objects(series: nw.Series) -> str:
    """Return the kind of a pandas column of Python objects, from all its values."""
    inferred = module_of("pandas").api.types.infer_dtype(series.to_native(), skipna=True)
    if inferred in KINDS_OF_OBJECTS:
        return KINDS_OF_OBJECTS[inferred]
    one_of_each = {type(value).__name__: value for value in series.drop_nulls().to_list()}
    raise TypeError(
        f"expected object column {series.name!r} to hold only strings, only numbers or only booleans, got "
        f"{' and '.join(sorted(one_of_each))}: {show(list(one_of_each.values()))}; convert all values to one type, or "
        "drop the column."
    )
