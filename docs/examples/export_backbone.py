"""A small PyTorch net as an ONNX file that `pdloss train` takes: `python export_backbone.py [backbone.onnx]`.

Put your own net in the place of `net`. Needs torch and onnxscript.
"""
import sys

import torch
from torch import nn

SIDE, DIM = 48, 64


def block(inside, outside):
    return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)]


torch.manual_seed(0)
net = nn.Sequential(
    *block(3, 16), *block(16, 32), *block(32, 64), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(64 * 9, DIM)
)
torch.onnx.export(
    net.eval(),
    (torch.zeros(2, 3, SIDE, SIDE),),
    sys.argv[1] if len(sys.argv) > 1 else "backbone.onnx",
    input_names=["image"],
    output_names=["embedding"],
    dynamic_shapes=[{0: torch.export.Dim("batch")}],  # any number of images
    external_data=False,  # the weights inside the file
    optimize=False,  # BatchNormalization as layers of its own, not folded into the convolutions
)
