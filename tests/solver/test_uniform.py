"""A uniform budget from the start of a training to the certificate: every block ships with the same width."""

import torch
import transformers

import lzero


def test_every_block_of_a_transformer_keeps_the_same_heads_and_hidden_units():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=24, num_hidden_layers=3, num_attention_heads=6, intermediate_size=40, num_labels=2
    )
    model = transformers.BertForSequenceClassification(config)
    ids = torch.randint(1, 64, (16, 9))
    gates = lzero.attach_gates(model, {"input_ids": ids[:2]})
    solver = lzero.Solver(gates, constraints=[lzero.Constraint(0.6, uniform=True)], total_steps=120)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(120):
        optimizer.zero_grad()
        model(input_ids=ids, labels=(ids[:, 0] > 32).long()).loss.backward()
        solver.step()
        optimizer.step()
    result = lzero.purge(model)
    blocks = result.model.bert.encoder.layer
    heads, hidden = (
        {widths(block) for block in blocks} for widths in (heads_of, lambda b: b.intermediate.dense.out_features)
    )
    assert len(heads) == len(hidden) == 1 and 1 <= heads.pop() < 6 and hidden.pop() < 40
    one_step = 3 * max(4 * 24 * 4 + 3 * 4, 2 * 24 + 1) / result.certificate.parameters_before
    assert 0 <= 0.6 - result.certificate.deployed["params"] < one_step
    assert result.certificate.largest_difference < 1e-4


def heads_of(block):
    return block.attention.self.query.out_features // 4
