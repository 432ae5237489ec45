"""Why units are left ungated, by what stands in the way, and what those mean that advise nothing."""

from __future__ import annotations

from catalogue.topics import Topic

REASONS = (
    Topic(
        "Mixed with other units",
        "An op adds up, normalises or compares units, so that a closed one would still be felt by all others. "
        "Nothing is wrong with the model; other units are gated. The op and the module stand behind the reason.",
        (
            "lzero/tracing/rules/normalization.py",
            "lzero/tracing/rules/reduction.py",
            "lzero/tracing/rules/attention.py",
            "lzero/tracing/rules/solving.py",
            "lzero/tracing/norm_",
        ),
    ),
    Topic(
        "Told apart by number or place",
        "Units are cut off for good in a purged model, and those behind them move up. What picks a unit by its number, "
        "cuts at a written number or works on neighbours would then take another one.",
        (
            "lzero/tracing/rules/",
            "lzero/tracing/label_book.py",
        ),
    ),
    Topic(
        "No weight that reads it",
        "A gate multiplies the weight that reads a unit: it needs one, a plain parameter.",
        (
            "lzero/tracing/rules/linear.py",
            "lzero/tracing/rules/convolution.py",
            "lzero/tracing/grouping.py",
            "lzero/tracing/enrol.py",
        ),
    ),
    Topic(
        "A size that would not follow",
        "The forward was run once, and each size that it reads was watched. What it decides or builds by a size would "
        "be another thing in a narrower model.",
        (
            "lzero/tracing/size_",
            "lzero/tracing/op_",
            "lzero/tracing/guards.py",
            "lzero/proving/told_numbers.py",
            "lzero/proving/size_branches.py",
        ),
    ),
    Topic(
        "Blocks and experts that cannot leave",
        'Asked for by `granularity="depth"` and `"experts"`. A block leaves where it adds to a stream and nothing else '
        "reads it; an expert where a closed one weighs nothing.",
        ("lzero/tracing/block", "lzero/tracing/experts.py", "lzero/proving/modules.py"),
    ),
    Topic(
        "Not reached, replaced, or asked for otherwise",
        "The example inputs do not lead there, or what was asked leaves it out.",
        (
            "lzero/tracing/granularity.py",
            "lzero/tracing/swapped.py",
            "lzero/tracing/tracer.py",
            "lzero/host/cache.py",
            "lzero/discover.py",
            "lzero/proving/unreached.py",
        ),
    ),
    Topic(
        "Refuted by the proof",
        "The trace allowed it, and on random weights the purged model was not equal to the gated one. "
        "It is refused, so that no purge is ever wrong; the reason says how it showed.",
        ("lzero/proving/",),
    ),
)

NOTHING = {
    # reasons without advice, by how they begin: what they mean for the model
    "it is one single block": "nothing: one block stays in every container",
    "it shares a parameter with other blocks": "give each block parameters of its own, or ask for another granularity",
    "nothing can be proved: with random weights and inputs, it returns no": "return logits, or what else is trained on",
    "nothing can be proved: with random weights and inputs, its out": "give logarithms, roots and divisions an eps",
    "purging leaves": "pass the module to ignore=; it counts or holds parameters in a way of its own",
    "the gated model fails in": "let the forward use a gated layer as a layer, or pass it to ignore=",
    "with it closed the outputs are NaN": "add an eps to what is divided by these units",
    "it adds to what it is called with": "let the block return a tensor like its input",
    "it runs more than once": "build one module a call, or ask for another granularity",
    "all of its parameters stand elsewhere too": "nothing: no parameter would be saved",
    "‹name› is added to the scores": 'leave "experts" out there; units inside of the experts can be gated',
    "ignored as asked": "nothing: take it out of ignore= to have it gated",
    "a tensor would be gated along more than two dims": "pass one of the layers around it to ignore=",
    "it is one single unit": "nothing: one unit stays in every layer",
    "it is read along several dims": "give each use a parameter of its own",
    "the forward splits the units by a literal size": "cut into equal parts (chunk), or at sizes kept as attributes",
    "a norm takes statistics of more positions": "nothing, or norms that see all of these units alike",
    "one norm is called on streams": "build one norm a stream",
    "its memory is used through a tensor": "keep to torch ops there: no NumPy, no data_ptr",
    "attention compares all positions": "nothing: positions are no units; heads and features are gated",
    "it must match a size that no gate controls": "nothing, or make both sides by layers that are gated",
    "units lie along a spatial dim": "nothing: places in an image are no units; channels are gated",
    "all channels of a depthwise": "nothing: its channels are gated together",
    "one unit is spread over many": "nothing, or give the unit that is broadcast a layer of its own",
    "a product of two parameters": "fold the product into one weight before the training",
    "a product with a sparse matrix": "nothing: nodes are no units; features are gated",
    "it reads features that no gate controls": 'nothing, or granularity="input", which gates the features themselves',
    "rows are looked up by their number": "nothing: a vocabulary stays whole",
    "its two parts make a complex number": "nothing: the pairs are gated along the other dims",
    "the forward picks units by their number": "pick with a layer, or by equal parts (chunk)",
    "the forward splits the units into unequal parts": "split into equal parts, or make them with separate layers",
    "the forward reads it as a Python number": "keep it a tensor: no item(), no float()",
    "it is flattened together": "nothing, or flatten after a layer that reads the units",
    "the forward reads it in sizes": "reshape to sizes that divide each other",
    "the forward reads its memory in strides": "take view, reshape or unfold in the place of as_strided",
    "steps of sequences are packed": "nothing: steps are no units; features are gated",
    "a system of equations": "nothing: its unknowns belong together",
    "it is used as a place in an image": "nothing: a coordinate is no unit",
    "the forward crops the dim": "crop places, not units; or cut channels by equal parts",
    "the forward reads the dim in windows": "nothing: places are no units",
    "an op on it fails": "let the forward not go on by exceptions there",
    "its size is read from a tensor": "read the size from the tensor that the op before it returned",
    "the forward hands its memory": "stay in torch for what units flow through",
    "the forward reads its memory": "stay in torch for what units flow through",
    "the forward reads its size in bytes": "take x.shape in its place",
    "the forward reads its strides": "take x.shape in its place",
    "the forward takes its len()": "take x.shape[0] in its place",
    "the forward turns it into a NumPy array": "stay in torch for what units flow through",
    "the forward turns it into a list": "stay in torch for what units flow through",
    "it is an output of the model": "nothing: what a model returns keeps its width",
}
