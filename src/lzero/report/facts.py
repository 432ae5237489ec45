"""The certificate of a model as the rows of a table, and what is worth saying first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lzero.certificate import Certificate
from lzero.report.content import Content, Timing
from lzero.report.words import UNKNOWN, count, duration, percent, size


@dataclass(frozen=True)
class Budget:
    """One row of the certificate, every number in words.

    Attributes:
        name: of the budget.
        asked, expected, before_settling, deployed, spare: columns of :class:`lzero.certificate.Certificate`.
        met: whether what is shipped is within it; None where nothing was asked for.
    """

    name: str
    asked: str
    expected: str
    before_settling: str
    deployed: str
    spare: str
    met: bool | None


@dataclass(frozen=True)
class Fact:
    """One thing worth a line: what it is called, what it is, and what it is beside."""

    name: str
    value: str
    beside: str = ""


def budgets(certificate: Certificate) -> list[Budget]:
    """One row a budget, and one for the parameters where none was asked for."""
    return [
        Budget(
            name,
            percent(certificate.asked.get(name)),
            percent(certificate.expected[name]),
            percent(certificate.before_settling[name]),
            percent(deployed),
            f"{certificate.spare[name]:.2f}" if name in certificate.spare else UNKNOWN,
            deployed <= certificate.asked[name] if name in certificate.asked else None,
        )
        for name, deployed in certificate.deployed.items()
    ]


def checks(certificate: Certificate) -> list[Fact]:
    """How the model that is shipped was chosen and checked."""
    difference = certificate.largest_difference
    facts = [
        Fact("Parameters", count(certificate.parameters), f"of {count(certificate.parameters_before)}"),
        Fact(
            "Threshold",
            f"{certificate.threshold:.3f}",
            "the P(z ≠ 0) from which a gate was kept; 1/2 without settling",
        ),
        Fact("Gates settled", count(certificate.moved), "opened or closed against the training, to meet the budgets"),
        Fact("Widths", _widths(certificate.round_to)),
    ]
    if difference is None:
        return [*facts, Fact("Largest difference", "not verified", "no forward of the two models was compared")]
    return [
        *facts,
        Fact("Largest difference", f"{difference:.1e}", "of outputs, gated against purged"),
    ]


def _widths(round_to: int | Mapping[str, int]) -> str:
    asked = {"": round_to} if isinstance(round_to, int) else round_to
    said = [
        f"{'as they come' if number == 1 else f'whole or multiples of {number}'}{f' at {path}' if path else ''}"
        for path, number in asked.items()
    ]
    return "; ".join(said) or "as they come"


def headline(content: Content) -> list[Fact]:
    """What a reader looks for first: densities, parameters, MACs, bytes, errors and milliseconds."""
    return list(_headline(content))


def _headline(content: Content) -> Iterator[Fact]:
    certificate, layers = content.certificate, content.layers
    if certificate is not None:
        for name in list(certificate.asked)[:2] or list(certificate.deployed)[:1]:
            asked = certificate.asked.get(name)
            beside = "nothing was asked for" if asked is None else f"asked: {percent(asked)} at most"
            yield Fact(f"Shipped, {name}", percent(certificate.deployed[name]), beside)
        yield Fact("Parameters", count(certificate.parameters), f"of {count(certificate.parameters_before)}")
    if layers is not None and layers.total("macs_before"):
        yield Fact("MACs", count(layers.total("macs")), f"of {count(layers.total('macs_before'))}")
    if layers is not None and layers.size_before:
        yield Fact("Tensors", size(layers.size), f"of {size(layers.size_before)}")
    for name, value in content.results.items():
        yield Fact(name, value, "of the purged model")
    measured = [timing for timing in timings(content) if timing.after is not None]
    if measured:
        yield Fact("One forward", duration(measured[-1].after), f"{duration(measured[-1].before)} before")


def timings(content: Content) -> list[Timing]:
    """Those of a budget of latency on the certificate, by its table and measured again, and then all others."""
    latency = None if content.certificate is None else content.certificate.latency
    if latency is None:
        return list(content.timings)
    threads = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    where = f"batch {latency.batch}, {threads}, {latency.device}"
    found = [Timing(f"by the table ({where})", latency.predicted_before, latency.predicted)]
    if latency.measured is not None:
        found.append(Timing(f"measured again ({where})", latency.measured_before, latency.measured))
    return [*found, *content.timings]
