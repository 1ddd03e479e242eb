"""Types of the tensors that modules hand to each other: logits, targets and images.

n is the number of examples, c that of classes. Only the tests check the shapes, so that training
loses no time.
"""

from typing import TypeAlias

from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

Logits: TypeAlias = Float[Tensor, "n c"]
Index: TypeAlias = Int64[Tensor, " n"]  # the true class of each example
Distribution: TypeAlias = Float[Tensor, "n c"]  # rows that sum to 1
Places: TypeAlias = Int64[Tensor, " places"]  # positions in an order, to read only some of it
# number of images of each class in train, all above 0; for soft labels the sum of their rows
ClassCounts: TypeAlias = Int64[Tensor, " c"] | Float[Tensor, " c"]
PerExample: TypeAlias = Float[Tensor, " n"]

Images: TypeAlias = UInt8[Tensor, "n channels h w"]
Pixels: TypeAlias = Float[Tensor, "n channels h w"]  # normalised, as a net's input
# Images or Pixels with the channels of each pixel side by side, as in channels-last memory
Rows: TypeAlias = Shaped[Tensor, "n h wc"]
