"""Ten small nets that together need every rule which PyTorch's exports of larger ones need, for `compare.py` and
`fixtures/torch/make.py`. Each takes images [batch, 3, SIZE, SIZE] to embeddings [batch, DIM]."""

import torch
from torch import nn
from torch.nn import functional as F

SIZE, DIM = 16, 5


class Staged(nn.Module):
    """BatchNormalization, reflected padding, patches merged by slices in steps, a max pool."""

    def __init__(self):
        super().__init__()
        self.pad = nn.ReflectionPad2d((1, 2, 2, 1))
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.merge, self.last = nn.Linear(16, 6), nn.Linear(6, DIM)

    def forward(self, x):
        x = F.relu(self.norm(self.first(self.pad(x))))
        x = F.max_pool2d(x[:, :, 1:, 1:], 2, 2)
        x = torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        return self.last(F.gelu(self.merge(x.flatten(2).transpose(1, 2))).mean(1))


class Transformer(nn.Module):
    """Patches, a class token, attention over heads, a table of positions, LayerNormalization."""

    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 17, 8))
        self.before, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, DIM)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        q, k, v = self.qkv(self.before(x)).reshape(x.shape[0], 17, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape[0], 17, 8))
        return self.last(self.norm(x)[:, 0])


class Windows(nn.Module):
    """Shifted windows and a table of relative places, as Swin has them."""

    def __init__(self):
        super().__init__()
        self.patch, self.qk, self.v = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 12), nn.Linear(6, 6)
        self.table, self.last = nn.Parameter(torch.randn(9, 1)), nn.Linear(6, DIM)
        places = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        relative = (places[:, :, None] - places[:, None, :] + 1).permute(1, 2, 0)
        self.register_buffer("relative", (relative[..., 0] * 3 + relative[..., 1]).flatten())

    def forward(self, x):
        x = torch.roll(self.patch(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))
        batch = x.shape[0]
        x = x.reshape(batch, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 6)
        q, k = self.qk(x).chunk(2, -1)
        scores = q @ k.transpose(1, 2) + self.table[self.relative].reshape(1, 4, 4)
        x = (scores.softmax(-1) @ self.v(x)).reshape(batch, 16, 6)
        return self.last(x.mean(1))


class Standardised(nn.Module):
    """Weights standardised by BatchNormalization, with a gain; GroupNorm; a learnt single number."""

    def __init__(self):
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.rand(4) + 0.5)
        self.group, self.scale, self.last = nn.GroupNorm(2, 4), nn.Parameter(torch.tensor(0.7)), nn.Linear(4, DIM)

    def forward(self, x):
        weight = F.batch_norm(self.weight.reshape(1, 4, -1), None, None, weight=self.gain * 0.3, training=True, momentum=0.0)
        x = F.conv2d(x, weight.reshape_as(self.weight), stride=2)
        return self.last(F.silu(self.group(x)).mean((2, 3)) * self.scale)


class Pyramid(nn.Module):
    """Resized by all methods."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 2, 2)
        self.mix, self.last = nn.Conv2d(12, 4, 3), nn.Linear(4, DIM)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        y = self.second(x)
        sizes = x.shape[-2:]
        x = torch.cat([
            x,
            F.interpolate(y, size=sizes, mode="nearest"),
            F.interpolate(y, size=sizes, mode="bilinear", align_corners=False),
            F.interpolate(y, scale_factor=2, mode="bicubic", align_corners=True),
        ], 1)
        return self.last(self.mix(x).square().mean((2, 3)))


class Equations(nn.Module):
    """Einsum, triangles, sums along an axis."""

    def __init__(self):
        super().__init__()
        self.first, self.tensor = nn.Conv2d(3, 4, 4, 4), nn.Parameter(torch.randn(2, 4, 3))
        self.square, self.last = nn.Parameter(torch.randn(16, 16) / 4), nn.Linear(6, DIM)

    def forward(self, x):
        x = torch.sigmoid(self.first(x)).flatten(2)
        x = torch.einsum("bcn,nm->bcm", x, torch.tril(self.square))
        x = torch.einsum("bcn,hcd->bhdn", x, self.tensor)
        return self.last(torch.cumsum(x, 3).mean(3).flatten(1))


class Pooled(nn.Module):
    """A generalised mean with a learnt exponent, Mish, hard swishes, squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.first, self.squeeze, self.excite = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.p, self.last = nn.Parameter(torch.ones(1) * 3.0), nn.Linear(6, DIM)

    def forward(self, x):
        x = F.mish(self.first(x))
        x = x * F.hardsigmoid(self.excite(F.hardswish(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.avg_pool2d(x.clamp(min=1e-2).pow(self.p), 7).pow(1.0 / self.p)
        return F.normalize(self.last(x.flatten(1)))


class Sampled(nn.Module):
    """Read on a grid that the net computes."""

    def __init__(self):
        super().__init__()
        self.first, self.shift = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 2)
        self.last = nn.Linear(4, DIM)
        line = torch.linspace(-0.9, 0.9, 4)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None])

    def forward(self, x):
        x = self.first(x)
        shift = 0.3 * torch.tanh(self.shift(x.mean((2, 3))))
        x = F.grid_sample(x, self.grid + shift[:, None, None, :], align_corners=False, padding_mode="border")
        return self.last(F.elu(x).amax((2, 3)))


class Shuffled(nn.Module):
    """Places and channels shuffled, a transposed convolution, PReLU, wrapped padding, a table of indices."""

    def __init__(self):
        super().__init__()
        self.first, self.prelu, self.up = nn.Conv2d(3, 8, 4, 4), nn.PReLU(8), nn.ConvTranspose2d(2, 4, 3, 2)
        self.bias, self.last = nn.Parameter(torch.randn(7, 4)), nn.Linear(4, DIM)

    def forward(self, x):
        x = F.pixel_shuffle(self.prelu(self.first(x)), 2)
        x = F.pad(x, (1, 1, 2, 0), mode="circular")
        x = F.leaky_relu(self.up(x)).flatten(2).transpose(1, 2)
        index = torch.arange(x.shape[1]) % 7
        return self.last((x * self.bias[index]).mean(1))


class Rotated(nn.Module):
    """Rotary positions and a norm by the root mean square, causal attention."""

    def __init__(self):
        super().__init__()
        self.patch, self.scale, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.rand(8) + 0.5), nn.Linear(8, 24)
        self.last = nn.Linear(8, DIM)
        angle = torch.arange(16)[:, None] * torch.tensor([1.0, 0.1])
        self.register_buffer("cos", angle.cos()), self.register_buffer("sin", angle.sin())

    def turn(self, x):
        a, b = x.chunk(2, -1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = F.rms_norm(x, (8,), self.scale, eps=1e-5)
        q, k, v = self.qkv(x).reshape(x.shape[0], 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v, is_causal=True)
        return self.last((x + y.transpose(1, 2).reshape(x.shape[0], 16, 8)).mean(1))


ZOO = {net.__name__.lower(): net for net in (Staged, Transformer, Windows, Standardised, Pyramid, Equations, Pooled, Sampled, Shuffled, Rotated)}
# Newer operators than the exporter's default opset has: Attention, RMSNormalization.
OPSETS = {"rotated": 23, "standardised": 21}
# Net and beginning of the case, and why they do not agree.
KNOWN = {
    ("pooled", "dynamo.eval"): "1 / p is a constant there",
    ("sampled", "legacy.train"): "the grid is saved with the module and has a name as a parameter has, so it is trained and said",
    ("rotated", "legacy"): "PyTorch's older exporter has no rms_norm",
}


def size(_):
    return SIZE


def make(name):
    torch.manual_seed(7)
    net = ZOO[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.5)
    return net
