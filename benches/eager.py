"""Nets as PyTorch modules, for training_step.py: exported once, then trained by PyTorch eager from the same weights.

    eager.py export NET FOLDER     FOLDER/net.onnx, and the module's weights beside it
    eager.py serve NET FOLDER      a step of FOLDER/batch.npz for each line that it is sent
"""

import os
import pathlib
import sys

import in_turn
import numpy as np
import torch
from torch import nn

THREADS = 2
DIM = 128
# As in tests/ort_training: step.rs and adamw.py.
TEMPERATURE, DECAY, EPSILON = 0.5, 1.0, 1e-2


def conv(channels, out, kernel, stride=1, groups=1, pad=None, relu=True):
    pad = kernel // 2 if pad is None else pad
    layers = [nn.Conv2d(channels, out, kernel, stride, pad, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if relu else []))


class Bottleneck(nn.Module):
    def __init__(self, channels, out, stride, widen):
        super().__init__()
        inner = channels * widen
        self.body = nn.Sequential(conv(channels, inner, 1), conv(inner, inner, 3, stride, inner), conv(inner, out, 1, relu=False))
        self.is_residual = stride == 1 and channels == out

    def forward(self, x):
        return x + self.body(x) if self.is_residual else self.body(x)


class MobileFaceNet(nn.Module):
    """Chen et al. 2018, with ReLU6 for PReLU."""

    def __init__(self):
        super().__init__()
        layers, channels = [conv(3, 64, 3, 2), conv(64, 64, 3, groups=64)], 64
        for widen, out, count, stride in [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]:
            for index in range(count):
                layers.append(Bottleneck(channels, out, stride if index == 0 else 1, widen))
                channels = out
        layers += [conv(128, 512, 1), conv(512, 512, 7, groups=512, pad=0, relu=False), conv(512, DIM, 1, relu=False), nn.Flatten()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


def of_torchvision(name):
    import torchvision

    net = getattr(torchvision.models, name)()
    net.fc = nn.Linear(net.fc.in_features, DIM)
    return net


def vit_s():
    import timm

    return timm.create_model("vit_small_patch16_224", num_classes=DIM)


# How each is made, and its images' size.
NETS = {
    "MobileFaceNet": (MobileFaceNet, 112),
    "ResNet-18": (lambda: of_torchvision("resnet18"), 224),
    "ResNet-50": (lambda: of_torchvision("resnet50"), 224),
    "ViT-S": (vit_s, 224),
}


def export(name, folder):
    torch.manual_seed(1)
    make, size = NETS[name]
    net = make().eval()
    # Exporters write equal tensors once, which would then be trained as one.
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.dim() < 2:
                tensor += 0.02 * torch.randn_like(tensor)
        for key, tensor in net.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                tensor += 0.02 * torch.rand_like(tensor)
    torch.save(net.state_dict(), folder / "net.pt")
    torch.onnx.export(net, (torch.randn(2, 3, size, size),), str(folder / "net.onnx"), dynamo=False, opset_version=17, input_names=["image"], output_names=["embeddings"],
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamic_axes={"image": {0: "batch"}, "embeddings": {0: "batch"}})


def serve(name, folder):
    torch.set_num_threads(THREADS)
    net = NETS[name][0]()
    net.load_state_dict(torch.load(folder / "net.pt"))
    net.train()
    proxies = nn.Parameter(torch.from_numpy(np.load(folder / "proxies.npy")))
    optimizer = torch.optim.AdamW([*net.parameters(), proxies], lr=float(os.environ["RATE"]), eps=EPSILON, weight_decay=DECAY)
    batch = np.load(folder / "batch.npz")
    images, labels = torch.from_numpy(batch["data"]), torch.from_numpy(batch["labels"])

    def step():
        rows, classes = (nn.functional.normalize(values) for values in (net(images), proxies))
        loss = nn.functional.cross_entropy(rows @ classes.T / TEMPERATURE, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    in_turn.serve(step)


if __name__ == "__main__":
    {"export": export, "serve": serve}[sys.argv[1]](sys.argv[2], pathlib.Path(sys.argv[3]))
