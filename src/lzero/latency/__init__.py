"""What the layers of a model take on a device, by their widths: the table that a budget of latency is counted with."""

from lzero.latency.layer import Layer
from lzero.latency.measuring import measure
from lzero.latency.table import Table
from lzero.latency.widths import never_falling

__all__ = ["Layer", "Table", "measure", "never_falling"]
