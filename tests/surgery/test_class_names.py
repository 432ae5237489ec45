"""Classes by name: given as a class or as a word, found through the bases."""

import pytest
from torch import nn
from torch.nn.utils import parametrize

from lzero.errors import StructureError
from lzero.surgery.class_names import class_name, class_names


class Own(nn.Linear):
    """A class whose base is known."""


def test_a_class_and_its_name_are_one():
    assert class_name(nn.Linear) == class_name("torch.nn.modules.linear.Linear")
    assert class_name("somebody.*Attention") == "somebody.*Attention"


@pytest.mark.parametrize("kind", [int, nn.Linear(2, 2), "Linear", None, 3])
def test_anything_else_is_refused_with_an_example(kind):
    with pytest.raises(StructureError, match=r"kinds: expected classes of modules.*'a\.B', found"):
        class_name(kind, example="a.B")


def test_the_names_of_a_module_are_those_of_its_bases_too():
    names = class_names(Own(2, 2))
    assert names[0].endswith("Own") and names[1] == class_name(nn.Linear) and class_name(nn.Module) in names


def test_a_parametrized_module_is_found_by_the_class_that_it_was():
    layer = Own(2, 2)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert class_name(Own) in class_names(layer)
