"""Ranges of numbers a user may give, as annotations: of a hyper-parameter, of a top-level key.

They are checked when a run is built (`configure.py`), so a value out of range is refused like a
misspelling. NaN and infinity are in none of them.
"""

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MinLen

NonNegative: TypeAlias = Annotated[float, Ge(0)]
Positive: TypeAlias = Annotated[float, Gt(0)]
Negative: TypeAlias = Annotated[float, Lt(0)]
Fraction: TypeAlias = Annotated[float, Ge(0), Le(1)]
PositiveFraction: TypeAlias = Annotated[float, Gt(0), Le(1)]
OpenFraction: TypeAlias = Annotated[float, Gt(0), Lt(1)]
BelowOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
NaturalNumber: TypeAlias = Annotated[int, Ge(0)]
PositiveInt: TypeAlias = Annotated[int, Ge(1)]
WorkerCount: TypeAlias = Annotated[int, Ge(0), Le(1024)]
ThreadCount: TypeAlias = Annotated[int, Ge(1), Le(1024)]
NonEmpty: TypeAlias = Annotated[str, MinLen(1)]
