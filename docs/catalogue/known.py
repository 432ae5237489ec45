"""What cannot be read out of the code, declared: each entry must still be there, and stale ones fail the test."""

from __future__ import annotations

PASSED_ON = {
    # (file, function): why what it raises, or says, is no message of its own
    ("lzero/baselines/bisection.py", "_Search.__call__"): "ends the search; caught where it begins",
    ("lzero/host/run.py", "forward"): "an error of the user's forward, told by whoever runs it",
    ("lzero/integrations/fsdp.py", "_tell"): "the error of this process once more",
    ("lzero/integrations/lightning/first_call.py", "_stop"): "stops a training step; caught where it was begun",
    ("lzero/integrations/lightning/target.py", "_Unbuilt.__getattr__"): "what Python expects of a stand-in",
    ("lzero/latency/record.py", "from_json"): "an error that is listed, with the file's name in front",
    ("lzero/latency/table.py", "Table.load"): "an error that is listed, with the file's name in front",
    ("lzero/plan/record.py", "_read_refusal"): "a refusal read from a file",
    ("lzero/recorder.py", "Recorder.from_csv"): "an error that is listed, with the line in front",
    ("lzero/shipped/weights.py", "write_weights"): "told by save_purged as what cannot be written",
    ("lzero/surgery/checkpoint.py", "Place.__getattr__"): "what Python expects of an attribute that is not there",
    ("lzero/tracing/granularity.py", "_ignored"): "told three lines on",
    ("lzero/tracing/op_mode.py", "OpMode.check_work"): "ends a forward; caught where it was begun",
    ("lzero/tracing/tracer.py", "trace"): "a fault of lzero's own, as Python says it",
    ("lzero_lab/cli/console.py", "_Screen.on_broken_pipe"): "what Python says of a pipe that was closed",
    ("lzero_lab/studies/forecast.py", "trial.look"): "ends a trial; caught where it was begun",
    ("lzero_lab/training/checkpoint.py", "loading"): "an error that is listed, with the file's name in front",
    ("lzero_lab/training/training.py", "Training._load"): "quoted in the DamagedError around it",
}

FOLLOWED = {
    # (file, name): the modules and functions whose words the name holds
    ("lzero/purge.py", "text"): [("lzero.certificate", "_doubts")],
    ("lzero_lab/cli/main.py", "wrong"): [
        ("lzero_lab.cli.info", "check"),
        ("lzero_lab.cli.report", "check"),
        ("lzero_lab.cli.train", "check"),
    ],
    ("lzero_lab/studies/study.py", "wrong"): [("lzero_lab.studies.study", "Study._problems")],
}

UNMET = {
    # (file, class): errors with words that reach nobody as an error
    ("lzero/__init__.py", "AttributeError"): "what Python says of a name that is not there",
    ("lzero/integrations/lightning/__init__.py", "AttributeError"): "what Python says of a name that is not there",
    ("lzero/integrations/transformers/gated.py", "ValueError"): "quoted in the StructureError around it",
    ("lzero/shipped/folder.py", "FileNotFoundError"): "quoted in the StructureError around it",
    ("lzero/surgery/libraries/plain_config.py", "_Unsaid"): "told in the configuration of the purged model",
    ("lzero/surgery/numbers/spots.py", "AttributeError"): "caught where numbers are read",
    ("lzero/tracing/op_call.py", "ValueError"): "freezes: the op's rule does not fit",
    ("lzero/tracing/rules/indexing.py", "NotImplementedError"): "freezes: the op's rule does not fit",
    ("lzero/tracing/rules/reshape.py", "NotImplementedError"): "freezes: the op's rule does not fit",
    ("lzero_lab/training/checkpoint.py", "ValueError"): "quoted in the DamagedError around it",
}

TOLD_HERE = {
    # (file, function): the way out where the message cannot hold it
    ("lzero/integrations/fsdp.py", "_tell"): "what that process says at the end of the message",
    ("lzero/proving/per_example.py", "_gap"): "what the message says at its end",
    (
        "lzero/purge.py",
        "purge",
    ): "nothing, if that is what the penalty is for; purge(model, constraints=[...]) asks for a density",
    ("lzero_lab/cli/study.py", "_nothing_finished"): "what the first of them says, at the end of the message",
    ("lzero_lab/studies/cell.py", "_continued"): "nothing: the training begins anew by itself",
    ("lzero_lab/studies/study.py", "Study._recipe"): "what the message says at its end",
}
