"""How well one colour can be read on another."""

import numpy as np
from matplotlib.colors import to_rgb


def contrast(one, other):
    """The contrast ratio of the accessibility guidelines, from 1 to 21."""

    def luminance(colour):
        channels = np.array(to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
