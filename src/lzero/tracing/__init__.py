"""Which indices of which tensors stay or go together: one forward, watched op by op."""
