"""Run folders of one training, of a comparison and of a sweep, and the figures drawn from them."""
