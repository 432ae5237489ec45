"""A study of a second: two budgets, three methods, two seeds."""

TEXT = """
data = "digits"
seeds = [0, 1]
[networks.mlp]
steps = 12
batch_size = 64
[budgets.half]
model = "mlp"
target = 0.5
[budgets.third]
model = "mlp"
target = 0.33
[methods.constrained]
[methods.binary]
estimator = "arm"
on.mlp = { gate_lr = 0.1 }
at.third = { steps = 9 }
[methods.once]
gate_lr = 0.01
only = ["third"]
"""
