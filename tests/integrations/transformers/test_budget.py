"""The callback in the Trainer of Hugging Face: what it logs, resumes, chooses and leaves alone."""

from __future__ import annotations

import warnings

import pytest
import torch

pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")

from integrations.launch import launch  # noqa: E402
from integrations.transformers.tiny import MODELS, build, inputs, same  # noqa: E402
from integrations.transformers.training import STEPS, trainer  # noqa: E402

import lzero  # noqa: E402
from lzero.integrations.transformers import Budget, from_pretrained  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*settling, and not the training")]


def equal(one, two):
    """Whether two models have the same state to the bit, that of the gates' training among it."""
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def kept_to(result, target):
    """Whether what was purged is at or below its budget, and within one unit of it."""
    certificate = result.certificate
    largest = max(0.02, 700 / certificate.parameters_before)
    return 0 <= target - certificate.deployed["params"] < largest


@pytest.mark.parametrize("name", MODELS)
def test_training_saving_resuming_and_coming_back(name, tmp_path):
    budgets = [Budget(0.6), Budget(0.6)]
    whole = trainer(tmp_path, name, callbacks=budgets[:1], save_strategy="steps", save_steps=STEPS // 2)
    whole.train()
    resumed = trainer(tmp_path, name, callbacks=budgets[1:])
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{STEPS // 2}"))
    assert equal(whole.model, resumed.model) and budgets[1].solver.steps == STEPS

    back = from_pretrained(tmp_path / f"checkpoint-{STEPS}")
    assert same(back, whole.model, name) and torch.equal(lzero.gates_of(back).log_alpha, budgets[0].gates.log_alpha)
    with pytest.raises(RuntimeError, match="mismatch"):
        type(whole.model).from_pretrained(tmp_path / f"checkpoint-{STEPS}")

    result = budgets[0].purge()
    assert kept_to(result, 0.6) and torch.equal(result.kept.popitem()[1], lzero.purge(resumed.model).kept.popitem()[1])
    result.model.save_pretrained(tmp_path / "small")
    assert same(from_pretrained(tmp_path / "small"), result.model, name)


def test_rows_reach_the_history_and_the_reporters(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    run = trainer(tmp_path, callbacks=[Budget(0.6)], report_to="tensorboard")
    run.train()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    rows = [row for row in run.state.log_history if "loss" in row]
    assert len(rows) == STEPS // 10
    for column in ("lzero/deployed", "lzero/multiplier", "lzero/target"):
        written = [(event.step, event.value) for event in events.Scalars(f"train/{column}")]
        assert written == [(row["step"], pytest.approx(row[column])) for row in rows]
    assert rows[-1]["lzero/deployed"] <= 0.6 < rows[0]["lzero/deployed"]


def test_without_the_list_of_callbacks_rows_reach_the_history(tmp_path, monkeypatch):
    monkeypatch.setattr("lzero.integrations.transformers.budget._DEEP", 0)
    run = trainer(tmp_path, callbacks=[Budget(0.6)])
    run.train()
    assert type(run.callback_handler.callbacks[0]).__name__ == "DefaultFlowCallback"
    assert all("lzero/deployed" in row for row in run.state.log_history if "loss" in row)


def test_standing_first_leaves_the_others_in_order_and_calls_each_once(tmp_path):
    calls = []

    class Other(transformers.TrainerCallback):
        def __init__(self, name):
            self.name = name

        def on_init_end(self, *args, **kwargs):
            calls.append(self.name)

    class Another(Other):
        pass

    run = trainer(tmp_path, callbacks=[Other("before"), Budget(0.6), Another("after")])
    names = [type(callback).__name__ for callback in run.callback_handler.callbacks]
    assert names == ["Budget", "DefaultFlowCallback", "Other", "Another", "PrinterCallback"]
    assert calls == ["before", "after"]


@pytest.mark.parametrize("name", MODELS)
def test_the_default_optimizer_is_that_of_the_ungated_model(name, tmp_path):
    def groups(callbacks):
        run = trainer(tmp_path, name, callbacks=callbacks, weight_decay=0.1)
        names = {
            id(p): n.replace("parametrizations.", "").removesuffix(".original") for n, p in run.model.named_parameters()
        }
        found = run.create_optimizer().param_groups
        return [(group["weight_decay"], {names[id(p)] for p in group["params"]}) for group in found]

    assert groups([Budget(0.6)]) == groups([])


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 2},
        {"max_grad_norm": 0.05},
        {"label_smoothing_factor": 0.1},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    ],
    ids=lambda options: "-".join(options),
)
def test_arguments_of_the_trainer(options, tmp_path):
    budget = Budget(0.6)
    run = trainer(tmp_path, callbacks=[budget], **options)
    run.train()
    result = budget.purge()
    assert budget.solver.steps == STEPS and budget.solver.skipped == 0 and kept_to(result, 0.6)
    result.model.save_pretrained(tmp_path / "small")
    assert same(from_pretrained(tmp_path / "small"), result.model, "BERT")


def test_checkpointing_of_activations_changes_nothing(tmp_path):
    models = []
    for checkpointing in (False, True):
        run = trainer(tmp_path, "Llama", callbacks=[Budget(0.6)], gradient_checkpointing=checkpointing)
        run.train()
        models.append(run.model)
    assert equal(*models)


def test_the_step_is_that_of_the_plain_loop(tmp_path):
    """Clipping and a scheduler by hand, with the four lines of the library: the same weights and gates to the bit."""
    run = trainer(tmp_path, callbacks=[Budget(0.6, example_inputs=inputs("BERT"))])
    seen = []
    run.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((torch.random.get_rng_state(), dict(kwargs))),
        prepend=True,
        with_kwargs=True,
    )
    run.model.train()
    run.train()

    model = build("BERT").train()
    gates = lzero.attach_gates(model, inputs("BERT"))
    solver = lzero.Solver(gates, 0.6, total_steps=STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (STEPS - step) / STEPS)
    for state, batch in seen:
        torch.random.set_rng_state(state)
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        solver.step()
        optimizer.step()
        scheduler.step()
    assert len(seen) == STEPS and equal(run.model, model)


@pytest.mark.parametrize("scale", [2.0**10, 2.0**127], ids=["no overflow", "overflow"])
def test_a_scaled_loss(scale, tmp_path):
    """fp16 needs a GPU; its scaler does not."""
    budget, plain = Budget(0.6), Budget(0.6)
    run = trainer(tmp_path, callbacks=[budget], max_grad_norm=0.0)
    run.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    run.train()
    assert kept_to(budget.purge(), 0.6) and budget.solver.steps == STEPS
    if scale == 2.0**10:  # powers of two leave no trace
        unscaled = trainer(tmp_path, callbacks=[plain], max_grad_norm=0.0)
        unscaled.train()
        assert equal(run.model, unscaled.model)
    else:
        assert run.accelerator.scaler.get_scale() < scale


def test_a_compiled_model(tmp_path):
    budget = Budget(0.6)
    model = build("BERT", num_hidden_layers=1)
    run = trainer(tmp_path, model=model, callbacks=[budget], torch_compile=True, torch_compile_backend="aot_eager")
    run.train()
    assert budget.solver.steps == STEPS and kept_to(budget.purge(), 0.6)


def test_sequences_that_are_generated(tmp_path):
    budget = Budget(0.6)
    options = {"predict_with_generate": True, "generation_max_length": 6, "eval_strategy": "steps", "eval_steps": 20}
    run = trainer(tmp_path, "T5", callbacks=[budget], **options)
    run.train()
    words = inputs("T5")["input_ids"]
    small = budget.purge().model
    small.save_pretrained(tmp_path / "small")
    assert run.predict(run.eval_dataset).predictions.shape[0] == 64
    assert torch.equal(from_pretrained(tmp_path / "small").generate(words), small.generate(words))


def by_score(steps):
    """Options with which the best score chooses the model."""
    return {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": steps,
        "save_steps": steps,
        "load_best_model_at_end": True,
        "metric_for_best_model": "score",
        "greater_is_better": True,
    }


def falling(run):
    """Let every evaluation be worse than the one before."""
    evaluate, scores = run.evaluate, iter(range(100, 0, -1))

    def worse(*args, **kwargs):
        return evaluate(*args, **kwargs) | {"eval_score": float(next(scores))}

    run.evaluate = worse
    return run


def test_the_best_model_is_one_of_those_that_meet_the_budget(tmp_path):
    budget = Budget(0.6)
    run = falling(trainer(tmp_path, callbacks=[budget], **by_score(4)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.train()
    assert run.state.best_model_checkpoint == str(tmp_path / "checkpoint-32")  # settled at 80 % of 40
    assert not [entry for entry in caught if "misses its budget" in str(entry.message)]
    assert budget.gates.held is not None and kept_to(budget.purge(), 0.6)
    kept = budget.gates.open_mask()
    later = from_pretrained(tmp_path / "checkpoint-40")
    assert torch.equal(lzero.gates_of(later).open_mask(), kept)


def test_a_training_that_is_stopped_early_says_what_it_ends_with(tmp_path):
    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step >= 12

    budget = Budget(0.3)
    run = falling(trainer(tmp_path, callbacks=[budget, Stop()], **by_score(4)))
    with pytest.warns(lzero.LzeroWarning, match=r"params: 30.00% asked, \d+.\d+% deployed"):
        run.train()
    assert run.state.best_model_checkpoint == str(tmp_path / "checkpoint-4")


def test_a_callback_that_is_added_later(tmp_path):
    budget = Budget(0.6)
    run = trainer(tmp_path, save_strategy="steps", save_steps=20)
    run.add_callback(budget)
    run.train()
    assert kept_to(budget.purge(), 0.6) and run.callback_handler.callbacks[0] is budget
    again = trainer(tmp_path)
    again.add_callback(Budget(0.6))
    with pytest.raises(RuntimeError, match="size mismatch"):  # a gated checkpoint, loaded before it is called
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-20"))


def test_a_checkpoint_without_gates_is_refused(tmp_path):
    trainer(tmp_path, save_strategy="steps", save_steps=20).train()
    checkpoint = str(tmp_path / "checkpoint-20")
    run = trainer(tmp_path, callbacks=[Budget(0.6)])
    with pytest.raises(lzero.SolverError, match="resumed at step 20, and its gates have seen 0"):
        run.train(resume_from_checkpoint=checkpoint)
    late = trainer(tmp_path)
    late.add_callback(Budget(0.6))
    with pytest.raises(lzero.SolverError, match=r"cannot be attached at step 20, .* Trainer\(callbacks=\[\.\.\.\]\)"):
        late.train(resume_from_checkpoint=checkpoint)


def test_a_model_that_is_built_by_the_trainer(tmp_path):
    budget = Budget(0.6)
    run = transformers.Trainer(
        model_init=lambda: build("BERT"),
        args=trainer(tmp_path).args,
        train_dataset=trainer(tmp_path).train_dataset,
        callbacks=[budget],
    )
    run.train()
    assert lzero.gates_of(run.model) is budget.gates and kept_to(budget.purge(), 0.6)


def test_a_solver_and_inputs_of_the_users_own(tmp_path):
    example = inputs("BERT", batch=2)
    budget = Budget(solver=lambda gates, steps: lzero.Penalty(gates, 1.0), example_inputs=example, ignore="bert.pooler")
    run = trainer(tmp_path, callbacks=[budget])
    run.train()
    assert type(budget.solver) is lzero.Penalty and budget.solver.steps == STEPS
    assert not any("pooler" in group.name for group in budget.gates.plan)
    assert "lzero/deployed" in [row for row in run.state.log_history if "loss" in row][-1]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_agree_and_resume_to_the_bit(accumulate, tmp_path):
    said = launch("integrations.transformers.processes", tmp_path, accumulate)
    assert said.count("agrees") == 2 and said.count("resumes") == 2


def test_before_there_is_a_model():
    with pytest.raises(lzero.StructureError, match="no gates yet; pass it to Trainer"):
        Budget(0.6).purge()
    with pytest.raises(lzero.BudgetError, match="give either target_density or constraints"):
        Budget()
