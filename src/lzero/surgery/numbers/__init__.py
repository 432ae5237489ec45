"""What the whole numbers beside the layers stand for: one family a library, told by the class of the module.

A family for modules of one's own is registered like those here, with :func:`number_family`.
"""

from lzero.surgery.numbers import by_name, hugging_face, timm
from lzero.surgery.numbers.registry import Role, number_family

__all__ = ["Role", "by_name", "hugging_face", "number_family", "timm"]
