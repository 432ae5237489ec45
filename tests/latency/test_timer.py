"""The clock: turns, the shortest reading, and settings that are put back."""

import itertools

import torch

from lzero.latency.timer import Timer, computing_with, device_name, processor

CPU = torch.device("cpu")


class Clock:
    """Time that passes in calls alone; ``durations`` of each call in turn, over and over."""

    def __init__(self):
        self.seconds, self.order = 0.0, []

    def __call__(self):
        return self.seconds

    def call(self, name, *durations):
        turn = itertools.cycle(durations)

        def run():
            self.order.append(name)
            self.seconds += next(turn)

        return run


def test_the_shortest_reading_counts():
    clock = Clock()
    found = Timer(CPU, clock).each([clock.call("a", 5.0, 3.0, 4.0, 9.0, 6.0), clock.call("b", 1.0)], 8, 0)
    assert found == [3.0, 1.0]


def test_calls_take_turns_each_after_one_that_does_not_count():
    clock = Clock()
    Timer(CPU, clock).each([clock.call("a", 1.0), clock.call("b", 1.0)], 2, 1)
    assert "".join(clock.order) == "aabb" + "aabb" * 2


def test_short_calls_are_repeated_in_a_reading():
    clock = Clock()
    timer = Timer(CPU, clock)
    assert timer.warm(clock.call("a", 1e-5), 1) == 20 and timer.warm(clock.call("b", 1.0), 1) == 1
    assert abs(timer.seconds(clock.call("c", 1.0, 3.0), 4) - 2.0) < 1e-12


def test_it_ends_when_it_has_taken_too_long():
    clock = Clock()
    Timer(CPU, clock).each([clock.call("a", 1.0)], 100, 1, most=9.0)
    assert len(clock.order) < 15
    clock.order.clear()
    Timer(CPU, clock).each([clock.call("a", 100.0)], 100, 1, most=9.0)
    assert len(clock.order) == 4  # warm, a reading to count by, and one round


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with computing_with(before + 1) as used:
        assert used == torch.get_num_threads() == before + 1
    with computing_with(None) as used:
        assert used == before
    assert torch.get_num_threads() == before


def test_a_device_has_a_name():
    assert device_name(CPU) and device_name(torch.device("meta")) == "meta"


def test_the_processor_is_named_with_its_threads() -> None:
    count = torch.get_num_threads()
    assert processor() == f"{device_name(torch.device('cpu'))}, {count} thread{'s' if count != 1 else ''}"
