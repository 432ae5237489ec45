"""What a library keeps of a model beside its modules: a configuration, names of its own in files.

A library of one's own is registered like those here, with :func:`library`.
"""

from lzero.surgery.libraries import hugging_face
from lzero.surgery.libraries.registry import Library, library, library_of

__all__ = ["Library", "hugging_face", "library", "library_of"]
