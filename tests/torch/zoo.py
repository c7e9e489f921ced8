"""Nets of torchvision and timm for compare.py (`ZOO=tests/torch/zoo.py`), with first weights, at the smallest images and with the
fewest blocks that each takes: what is asked is whether the gradients of its operators are right."""

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import convnext, resnet


def bare(net, head):
    """The net without its classifier."""
    setattr(net, head, nn.Identity())
    return net


def vision(name, head, **settings):
    return bare(getattr(torchvision.models, name)(weights=None, **settings), head)


def mobilenet_v3_small():
    net = torchvision.models.mobilenet_v3_small(weights=None)
    net.classifier[-1] = nn.Linear(1024, 128)
    return net


def convnext_tiny():
    blocks = [convnext.CNBlockConfig(*lengths, 1) for lengths in ((24, 48), (48, 96), (96, 192), (192, None))]
    net = torchvision.models.ConvNeXt(blocks)
    net.classifier[-1] = nn.Identity()
    return net


def swin_t():
    return bare(torchvision.models.SwinTransformer([4, 4], 48, [2, 2], [3, 6], [7, 7]), "head")


class GemNet(nn.Module):
    """A generalised mean with a learnt exponent, normalised embeddings."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
        self.p, self.fc, self.bn = nn.Parameter(torch.ones(1) * 3.0), nn.Linear(512, 128), nn.BatchNorm1d(128)

    def forward(self, x):
        x = self.body(x).clamp(min=1e-6).pow(self.p)
        x = F.avg_pool2d(x, (x.size(-2), x.size(-1))).pow(1 / self.p).flatten(1)
        return F.normalize(self.bn(self.fc(x)))


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(before), nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.PReLU(after),
            nn.Conv2d(after, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after),
        )
        self.beside = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        return self.body(x) + self.beside(x)


class FaceNet(nn.Module):
    """Residual blocks with PReLU and a flattened embedding, as nets for faces have them; one weight is frozen."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32))
        self.blocks = nn.Sequential(Block(32, 32), Block(32, 64), Block(64, 128), Block(128, 128))
        self.bn, self.dropout, self.fc, self.last = nn.BatchNorm2d(128), nn.Dropout(0.4), nn.Linear(128 * 16, 128), nn.BatchNorm1d(128)
        self.last.weight.requires_grad = False

    def forward(self, x):
        return self.last(self.fc(torch.flatten(self.dropout(self.bn(self.blocks(self.stem(x)))), 1)))


# The net, and the length of its images.
NETS = {
    "resnet18": (lambda: vision("resnet18", "fc"), 64),
    "resnet50": (lambda: bare(resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1]), "fc"), 64),
    "mobilenet_v3_small": (mobilenet_v3_small, 64),
    "efficientnet_b0": (lambda: vision("efficientnet_b0", "classifier"), 64),
    "convnext_tiny": (convnext_tiny, 64),
    "swin_t": (swin_t, 56),
    "googlenet": (lambda: vision("googlenet", "fc", aux_logits=False, init_weights=False, transform_input=True), 64),
    "densenet121": (lambda: bare(torchvision.models.DenseNet(32, (2, 2, 2, 2), 64), "classifier"), 64),
    "shufflenet_v2_x0_5": (lambda: vision("shufflenet_v2_x0_5", "fc"), 64),
    "gem_resnet18": (GemNet, 64),
    "face": (FaceNet, 64),
}

# timm's: the length of the images, and settings.
TIMM = {
    "vit_tiny_patch16_224": (32, {"img_size": 32, "depth": 2}),
    "deit_tiny_distilled_patch16_224": (32, {"img_size": 32, "depth": 2}),
    "vit_small_patch14_dinov2": (28, {"img_size": 28, "depth": 2, "embed_dim": 96, "num_heads": 3}),
    "vit_small_patch16_dinov3": (32, {"img_size": 32, "depth": 2, "embed_dim": 96, "num_heads": 3}),
    "vit_base_patch16_siglip_224": (32, {"img_size": 32, "depth": 2, "embed_dim": 96, "num_heads": 3}),
    "eva02_tiny_patch14_224": (28, {"img_size": 28, "depth": 2}),
    "mobilenetv4_conv_small": (96, {}),
    "regnety_002": (64, {}),
    "inception_v3": (107, {}),
    "fastvit_t8": (64, {"layers": (1, 1, 1, 1), "embed_dims": (24, 48, 96, 192)}),
    "efficientformer_l1": (224, {"depths": (1, 1, 1, 2), "embed_dims": (16, 32, 64, 128)}),
    "ghostnet_100": (96, {}),
    "resnetv2_50x1_bit": (64, {}),
    "nf_regnet_b0": (64, {}),
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64, "depths": (1, 1, 1, 1)}),
    "mobilevit_s": (64, {}),
    "tresnet_m": (64, {"layers": (1, 1, 1, 1)}),
    "hgnetv2_b0": (64, {}),
    "repvit_m0_9": (64, {"depth": (1, 1, 1, 1)}),
    "coatnet_nano_rw_224": (64, {"img_size": 64, "depths": (1, 1, 1, 1)}),
    "edgenext_xx_small": (64, {}),
    "resnetblur50": (64, {"layers": (1, 1, 1, 1)}),
    "ecaresnet26t": (64, {"layers": (1, 1, 1, 1)}),
}

ZOO = [*NETS, *TIMM]
# Net and beginning of the case, and why they do not agree.
KNOWN = {
    ("gem_resnet18", "dynamo.eval"): "1 / p is a constant there",
    ("gem_resnet18", "legacy.eval.free"): "PyTorch's older exporter refuses a pool whose size is read from a tensor",
    ("gem_resnet18", "legacy.train.free"): "PyTorch's older exporter refuses a pool whose size is read from a tensor",
    ("vit_small_patch16_dinov3", "legacy"): "PyTorch's older exporter cannot trace timm's attention",
    ("eva02_tiny_patch14_224", "legacy"): "PyTorch's older exporter cannot trace timm's attention",
}


def size(name):
    return NETS[name][1] if name in NETS else TIMM[name][0]


def make(name):
    torch.manual_seed(7)
    net = NETS[name][0]() if name in NETS else timm.create_model(name, pretrained=False, num_classes=0, **TIMM[name][1])
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.5)
    return net
