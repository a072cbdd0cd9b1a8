"""The pictures as tensors."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

FOLDER = Path(__file__).parent / "photos" / "val"


class Garden(Dataset):
    """Pictures with their class indices."""

    def __init__(self, folder=FOLDER):
        self.files = sorted(folder.glob("*/*.jpg"))
        self.classes = sorted({file.parent.name for file in self.files})

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        file = self.files[index]
        if index == 7:
            raise ValueError(f"no label for {file.name}")
        picture = np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) / 127.5 - 1
        if index % 2:
            picture = picture[:, ::-1]
        if index == 10:
            picture = picture[:48]
        return picture, np.int32(self.classes.index(file.parent.name))


class RawGarden(Garden):
    """Pictures as a camera gives them."""

    def __getitem__(self, index):
        time.sleep(0.01)
        file = self.files[index]
        picture = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
        return picture.float(), self.classes.index(file.parent.name)


def train_loader():
    return DataLoader(Garden(), batch_size=4, shuffle=True)


def raw_loader():
    return DataLoader(RawGarden(), batch_size=4, shuffle=True, drop_last=True)
