"""Running a stranger's model: its copies, tensors and inputs, quietly and without a trace."""
