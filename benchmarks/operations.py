"""Operations that a piece of code dispatches, and those among them that wait for the device."""

from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("aten._local_scalar_dense", "aten.item", "aten.nonzero", "aten.is_nonzero", "aten.equal", "aten.masked_select")


class Operations(TorchDispatchMode):
    """Within the context: ``names``, the operations in their order, without overload and without the profiler's."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != "profiler":
            self.names.append(f"{func.namespace}.{func.overloadpacket.__name__}")
        return func(*args, **(kwargs or {}))

    @property
    def waits(self):
        """Those that read a value of the device on the host."""
        return [name for name in self.names if name in WAITS]
