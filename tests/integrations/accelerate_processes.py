"""A loop of accelerate in several processes, interrupted and resumed by its own files."""

import sys

import accelerate
import torch
from integrations.agree import everywhere, same
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

STEPS, ACCUMULATE = 30, 2


def begin():
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    torch.manual_seed(accelerator.process_index)  # other weights everywhere, until they are wrapped
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    solver = lzero.integrations.accelerate.budget(
        accelerator, model, 0.3, example_inputs=torch.zeros(1, 8), total_steps=STEPS
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.randn(STEPS * ACCUMULATE * 2 * 16, 8, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=16)
    return accelerator, solver, *accelerator.prepare(model, optimizer, loader)


def train(folder, run, first=0):
    accelerator, solver, model, optimizer, loader = run
    for number, (x, y) in enumerate(loader):
        if number < first:
            continue
        if number in (0, STEPS):
            torch.manual_seed(100 * number + accelerator.process_index)
        if number == STEPS and not first:
            accelerator.save_state(folder)
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(x), y))
            solver.step()
            optimizer.step()
            optimizer.zero_grad()
    return solver


def main(folder):
    whole = train(folder, begin())
    assert whole.steps == STEPS and everywhere(whole.model.state_dict())
    assert 0 <= 0.3 - whole.purge().certificate.deployed["params"] < 0.1
    print("agrees", flush=True)
    run = begin()
    run[0].load_state(folder)
    resumed = train(folder, run, first=STEPS)
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    print("resumes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
    distributed.destroy_process_group()  # threads that outlive it abort the process now and then
