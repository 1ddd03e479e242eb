"""The two tensors that cross every boundary, logits and target.

n examples, c classes. The tests enforce the shapes; production pays nothing for them.
"""

from typing import TypeAlias

from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

Logits: TypeAlias = Float[Tensor, "n c"]
Index: TypeAlias = Int64[Tensor, " n"]  # the true class of each example
Distribution: TypeAlias = Float[Tensor, "n c"]  # rows that sum to 1
Places: TypeAlias = Int64[Tensor, " places"]  # of an order, where some are wanted
# images of each class in train, each above 0; of soft labels the sums of their rows
ClassCounts: TypeAlias = Int64[Tensor, " c"] | Float[Tensor, " c"]
PerExample: TypeAlias = Float[Tensor, " n"]

Images: TypeAlias = UInt8[Tensor, "n channels h w"]
Pixels: TypeAlias = Float[Tensor, "n channels h w"]  # normalised, as a net takes them
Rows: TypeAlias = Shaped[Tensor, "n h wc"]  # of either, as they lie in channels-last memory
