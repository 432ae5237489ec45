"""Every error, warning and refusal of lzero, read from its code: ``python docs/catalogue`` writes docs/wrong.md."""
