"""Tiny models of the types of transformers, and inputs that they run on.

Of the classes of a type those with a head come first, as what is trained. Weights are moved by noise, so that nothing
is zero by initialisation.
"""

import copy
import re
import time

import torch
import transformers
from given import choices, inputs_of, kinds_in
from small import LEVELS, configuration, parts_of
from source import NotBuilt, Source, line, parameters
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

MOST_PARAMETERS = 40_000_000
MOST_SECONDS = 1

HEADS = (
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "IMAGE_TEXT_TO_TEXT",
    "MULTIMODAL_LM",
    "MASKED_LM",
    "CAUSAL_LM",
    "IMAGE_CLASSIFICATION",
    "VIDEO_CLASSIFICATION",
    "AUDIO_CLASSIFICATION",
    "CTC",
    "OBJECT_DETECTION",
    "SEMANTIC_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "SEQUENCE_CLASSIFICATION",
    "DEPTH_ESTIMATION",
)
"""The classes with a head that are tried first; the model without one comes after them, and then all other classes."""
MOST_CLASSES = 5

_LOADED = transformers.PreTrainedModel  # now, for all processes of run.py, whose time it would be


def types():
    """All model types of the transformers that is installed, but for parts without a class in its Auto tables."""
    return sorted(kind for kind in CONFIG_MAPPING_NAMES if classes(kind))


def classes(kind):
    """Names of the model classes of a type, those to try first at the front."""
    tables = [name for name in vars(modeling_auto) if re.fullmatch(r"MODEL_(FOR_\w+_)?MAPPING_NAMES", name)]
    first = [*(f"MODEL_FOR_{head}_MAPPING_NAMES" for head in HEADS), "MODEL_MAPPING_NAMES"]
    found = []
    for table in dict.fromkeys([*first, *tables]):
        name = dict(getattr(modeling_auto, table, {})).get(kind, ())
        found += [name] if isinstance(name, str) else list(name)
    return list(dict.fromkeys(found))


def model_of(cls, config, level):
    """A model of the class, in eval mode, its weights moved by noise."""
    config = _meant(config, cls)
    if level > 1:
        with torch.device("meta"):
            size = parameters(cls(copy.deepcopy(config)))
        if size > MOST_PARAMETERS:
            raise NotBuilt(f"{size / 1e6:.0f} million parameters at its smallest")
    torch.manual_seed(0)
    model = cls(config).float().eval()
    if parameters(model) > MOST_PARAMETERS:
        raise NotBuilt(f"{parameters(model) / 1e6:.0f} million parameters")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def _meant(config, cls):
    """The part of a configuration that a class takes."""
    parts = [config, *parts_of(config).values()]
    return next((part for part in parts if cls.config_class and isinstance(part, cls.config_class)), config)


def build(kind, runs):
    """A tiny model of a type, the names of inputs that it runs on, and its class: the first that has one.

    Args:
        kind: the model type.
        runs: called with a model and inputs; raises where they do not go together.

    Raises:
        NotBuilt: none does; with what the first try said.
    """
    reasons = []
    for name in classes(kind)[:MOST_CLASSES]:
        try:
            cls = getattr(transformers, name)
            tries = [(level, names) for level in range(len(LEVELS)) for names in choices(cls)]
        except Exception as error:
            reasons.append(f"{name}: {line(error)}")
            continue
        models = {}
        for level, names in sorted(tries, key=lambda one: -kinds_in(one[1])):
            if level not in models:
                models[level] = _made(kind, cls, level, reasons, models)
            model, start = models[level], time.process_time()
            if model is None:
                continue
            try:
                runs(model, inputs_of(model, names, 2, 7, 0))
            except Exception as error:
                reasons.append(f"{name}({', '.join(names)}): {line(error)}")
            else:
                if time.process_time() - start < MOST_SECONDS:
                    return model, names, name
                reasons.append(f"{name}: one forward takes more than {MOST_SECONDS} s")
                models[level] = None
        if not tries:
            reasons.append(f"{name}: nothing that its forward takes is known")
    raise NotBuilt(next(iter(sorted(reasons, key=lambda reason: "million" in reason)), "no model class of its own"))


def _made(kind, cls, level, reasons, models):
    """The model of a level; None where it cannot be, or is that of another level."""
    try:
        config = configuration(kind, level)
        if any(
            model is not None and model.config.to_dict() == _meant(config, cls).to_dict() for model in models.values()
        ):
            return None
        return model_of(cls, config, level)
    except Exception as error:
        reasons.append(f"{cls.__name__}: {line(error)}")
        return None


TRANSFORMERS = Source(
    "transformers",
    types,
    build,
    inputs_of,
    (2, 7),
    ((3, 11, "batch and length"), (3, 7, "batch"), (2, 7, "values")),
    more="width+depth+experts",
)
