"""Which groups are the same one in another block: by size and the last word, within modules that may overlap."""

from lzero.plan.alike import families
from lzero.plan.group import GateGroup


def groups(*names, kind="unit"):
    return [GateGroup(name, size, kind, ()) for name, size in names]


BLOCKS = groups(
    ("stem", 8),
    ("enc.0.attn.q", 4),
    ("enc.0.fc", 16),
    ("enc.1.attn.q", 4),
    ("enc.1.fc", 16),
    ("dec.0.self.q", 4),
    ("dec.0.fc", 12),
    ("dec.1.fc", 12),
)


def test_size_and_last_word_make_a_family_in_the_order_of_the_groups():
    heads, encoder, decoder = families(BLOCKS)
    assert heads == ("enc.0.attn.q", "enc.1.attn.q", "dec.0.self.q")
    assert encoder == ("enc.0.fc", "enc.1.fc") and decoder == ("dec.0.fc", "dec.1.fc")


def test_within_a_module_its_groups_alone():
    assert families(BLOCKS, ["enc"]) == (("enc.0.attn.q", "enc.1.attn.q"), ("enc.0.fc", "enc.1.fc"))
    assert families(BLOCKS, ["enc.0", "stem"]) == ()


def test_modules_that_overlap_share_their_families_and_others_do_not():
    assert families(BLOCKS, ["enc", ""]) == families(BLOCKS, ["", "enc"]) == families(BLOCKS)
    twice = groups(("a.0.fc", 3), ("a.1.fc", 3), ("b.0.fc", 3), ("b.1.fc", 3))
    assert families(twice, ["b", "a"]) == (("a.0.fc", "a.1.fc"), ("b.0.fc", "b.1.fc"))


def test_a_number_stands_for_any_number_and_a_word_with_one_does_not():
    assert families(groups(("features.0", 8), ("features.3", 8), ("conv1", 8), ("conv2", 8))) == (
        ("features.0", "features.3"),
    )


def test_inputs_and_weights_are_no_units():
    assert families(groups(("a.0.fc", 3), ("a.1.fc", 3), kind="input")) == ()
    assert families(groups(("a.0.fc", 3), ("a.1.fc", 3), kind="weight")) == ()
