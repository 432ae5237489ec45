"""Which indices of a model's tensors get labels before its forward."""

import torch
from torch import nn

from lzero.tracing.enrolment import enrol
from lzero.tracing.tensor_table import TensorTable


def enrolled(model: nn.Module) -> TensorTable:
    table = TensorTable()
    enrol(model, table)
    return table


def test_parameters_and_float_buffers_have_labels_and_kernels_have_none() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4))
    table = enrolled(model)
    axes = table.find(model[0].weight).axes
    assert [axis.size for axis in axes] == [4, 3, 5, 5]
    assert [bool(axis.any()) for axis in axes] == [True, True, False, False]
    assert table.find(model[1].running_mean).axes[0].all() and table.find(model[1].num_batches_tracked) is None
    assert len(set(torch.cat([torch.from_numpy(axis) for axis in (*axes[:2],)]).tolist())) == 7


def test_projected_units_of_an_lstm_stay() -> None:
    model = nn.LSTM(3, 6, proj_size=2)
    slots = {slot.tensor: slot for slot in enrolled(model).book.classes().slots if slot.dim == 1}
    assert "weight_hr_l0" in slots
    assert (enrolled(nn.LSTM(3, 6)).book.classes().everywhere[1:] > 0).all()
    classes = enrolled(model).book.classes()
    start = slots["weight_hr_l0"].start
    assert (classes.everywhere[start : start + 6] <= 0).all()
