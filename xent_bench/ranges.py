"""Ranges of the numbers that a user may give: annotations of hyper-parameters and top-level keys.

`config/configure.py` checks them before a run is built, so that a value out of range is refused
like a misspelling. NaN and infinity are in none of them.
"""

from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MinLen

NonNegative: TypeAlias = Annotated[float, Ge(0)]
Positive: TypeAlias = Annotated[float, Gt(0)]
Negative: TypeAlias = Annotated[float, Lt(0)]
FromMinusOne: TypeAlias = Annotated[float, Ge(-1)]
Fraction: TypeAlias = Annotated[float, Ge(0), Le(1)]
PositiveFraction: TypeAlias = Annotated[float, Gt(0), Le(1)]
OpenFraction: TypeAlias = Annotated[float, Gt(0), Lt(1)]
FromOne: TypeAlias = Annotated[float, Ge(1)]
BelowOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
NaturalNumber: TypeAlias = Annotated[int, Ge(0), Lt(2**31)]  # as the sizes of tensors
PositiveInt: TypeAlias = Annotated[int, Ge(1), Lt(2**31)]
Seed: TypeAlias = Annotated[int, Ge(0), Lt(2**128)]
Severity: TypeAlias = Annotated[int, Ge(1), Le(5)]  # of a corruption of images
TermCount: TypeAlias = Annotated[int, Ge(1), Le(1000)]
WorkerCount: TypeAlias = Annotated[int, Ge(0), Le(1024)]
ThreadCount: TypeAlias = Annotated[int, Ge(1), Le(1024)]
ImageSize: TypeAlias = PositiveInt | Literal["original"]  # pixels, or those of the files
Moments: TypeAlias = tuple[float, ...]  # of each channel of the images
NonEmpty: TypeAlias = Annotated[str, MinLen(1)]
ColumnNames: TypeAlias = str | tuple[str, ...]  # of a table: one, or several
