"""A small archive in the layout of CIFAR-10's, drawn here."""

import io
import tarfile

import numpy as np
from PIL import Image

CLASSES = ("bird", "cat", "ship")


def picture(label, number, size=(32, 32), format_="JPEG"):
    """An image file: a colour for each class, with a little noise."""
    noise = np.random.default_rng([label, number]).integers(0, 60, (*size[::-1], 3))
    colour = np.array([200 * (label == k) for k in range(3)])
    file = io.BytesIO()
    Image.fromarray((noise + colour).astype(np.uint8)).save(file, format_, quality=95)
    return file.getvalue()


def write_archive(path, train=20, test=4, order=1, further=()):
    """An archive with so many images a class and split; ``further`` are (name, content) of more members."""
    members = [
        (f"{split}/{kind}/{number:04d}.jpg", picture(label, number + 1000 * (split == "test")))
        for split, count in (("train", train), ("test", test))
        for label, kind in enumerate(CLASSES)
        for number in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (*members[::order], *further):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
