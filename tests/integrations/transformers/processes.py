"""The Trainer with a budget in several processes, interrupted and resumed from its checkpoint."""

import sys

from integrations.agree import everywhere, same
from integrations.transformers.training import STEPS, trainer
from torch import distributed

from lzero.integrations.transformers import Budget


def main(folder, accumulate):
    options = {"ddp_backend": "gloo", "gradient_accumulation_steps": int(accumulate)}
    budget = Budget(0.6)
    whole = trainer(folder, callbacks=[budget], save_strategy="steps", save_steps=STEPS // 2, **options)
    whole.train()
    assert budget.solver.steps == STEPS and everywhere(whole.model.state_dict())
    assert 0 <= 0.6 - budget.purge().certificate.deployed["params"] < 0.02
    print("agrees", flush=True)
    resumed = trainer(folder, callbacks=[Budget(0.6)], **options)
    resumed.train(resume_from_checkpoint=f"{folder}/checkpoint-{STEPS // 2}")
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    print("resumes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    distributed.destroy_process_group()  # threads that outlive it abort the process now and then
