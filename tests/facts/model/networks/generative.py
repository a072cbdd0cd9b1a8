"""Autoencoders, generators and upsampling networks."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from parts import double_conv
from torch import nn


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.mu = nn.Linear(400, 20)
        self.logvar = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mu, lv = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, lv)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, lv


class KLMonitor(VAE):
    def forward(self, x):
        out, mu, lv = super().forward(x)
        self.kl = (-0.5 * (1 + lv - mu**2 - lv.exp()).sum(1)).detach().mean()
        return out, mu, lv


class GANGenerator(nn.Module):
    def __init__(self, z=100, g=16):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(z, g * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(g * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(g * 8, g * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(g * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(g * 4, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.main(x)


class Discriminator(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, d, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(d, d * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(d * 2),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(d * 2, 1, 4, 1, 0, bias=False),
        )

    def forward(self, x):
        return self.main(x).view(-1, 1).squeeze(1) if False else self.main(x).mean((2, 3))


class _Down(nn.Module):
    def __init__(self, i, o, norm=True):
        super().__init__()
        layers = [nn.Conv2d(i, o, 4, 2, 1, bias=False)]
        if norm:
            layers.append(nn.InstanceNorm2d(o))
        layers.append(nn.LeakyReLU(0.2))
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class _Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.model = nn.Sequential(
            nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.InstanceNorm2d(o), nn.ReLU(inplace=True)
        )

    def forward(self, x, skip):
        return torch.cat((self.model(x), skip), 1)


class Pix2Pix(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = _Down(3, 16, False)
        self.d2 = _Down(16, 32)
        self.d3 = _Down(32, 64)
        self.u1 = _Up(64, 32)
        self.u2 = _Up(64, 16)
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(32, 3, 4, padding=1), nn.Tanh()
        )

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(a)
        c = self.d3(b)
        return self.final(self.u2(self.u1(c, b), a))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = double_conv(3, 16)
        self.b = double_conv(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.c = double_conv(32, 16)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        return self.out(self.c(torch.cat([self.up(b), a], 1)))


class VQVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 16, 1))
        self.code = nn.Embedding(64, 16)
        self.dec = nn.Sequential(nn.ConvTranspose2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, x):
        z = self.enc(x)
        f = z.permute(0, 2, 3, 1).reshape(-1, 16)
        d = (f**2).sum(1, keepdim=True) + (self.code.weight**2).sum(1) - 2 * f @ self.code.weight.t()
        i = d.argmin(1)
        q = self.code(i).view(z.shape[0], z.shape[2], z.shape[3], 16).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
        q = z + (q - z).detach()
        return self.dec(q), loss


class VQEMA(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Conv2d(3, 16, 4, 4)
        self._embedding = nn.Embedding(64, 16)
        self._embedding.weight.data.normal_()
        self.register_buffer("_n", torch.zeros(64))
        self._w = nn.Parameter(torch.Tensor(64, 16))
        self._w.data.normal_()
        self.dec = nn.ConvTranspose2d(16, 3, 4, 4)

    def forward(self, x):
        z = self.enc(x).permute(0, 2, 3, 1).contiguous()
        f = z.view(-1, 16)
        d = (
            torch.sum(f**2, dim=1, keepdim=True)
            + torch.sum(self._embedding.weight**2, dim=1)
            - 2 * torch.matmul(f, self._embedding.weight.t())
        )
        idx = torch.argmin(d, dim=1).unsqueeze(1)
        enc = torch.zeros(idx.shape[0], 64, device=x.device)
        enc.scatter_(1, idx, 1)
        q = torch.matmul(enc, self._embedding.weight).view(z.shape)
        if self.training:
            self._n = self._n * 0.99 + 0.01 * torch.sum(enc, 0)
            dw = torch.matmul(enc.t(), f)
            self._w = nn.Parameter(self._w * 0.99 + 0.01 * dw)
            self._embedding.weight = nn.Parameter(self._w / self._n.unsqueeze(1))
        loss = 0.25 * F.mse_loss(q.detach(), z)
        q = z + (q - z).detach()
        return loss, self.dec(q.permute(0, 3, 1, 2).contiguous())


class EDSR(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.Conv2d(3, 32, 3, padding=1)
        self.b = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
                for _ in range(2)
            ]
        )
        self.e = nn.Conv2d(32, 32, 3, padding=1)
        self.t = nn.Sequential(nn.Conv2d(32, 128, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, x):
        x = self.h(x)
        r = x
        for b in self.b:
            r = r + b(r) * 0.1
        return self.t(self.e(r) + x)


class LDMAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 8, 3, padding=1)
        )
        self.q = nn.Conv2d(8, 8, 1)
        self.pq = nn.Conv2d(4, 4, 1)
        self.d = nn.Sequential(
            nn.Conv2d(4, 32, 3, padding=1),
            nn.GroupNorm(8, 32),
            nn.SiLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(32, 3, 3, padding=1),
        )

    def forward(self, x):
        m, lv = self.q(self.e(x)).chunk(2, 1)
        return self.d(self.pq(m + torch.randn_like(m) * (0.5 * lv).exp()))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 16))
        self.d = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 784), nn.Sigmoid())

    def forward(self, x):
        return self.d(self.e(x))


class NeRF(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.ModuleList([nn.Linear(3, 64), nn.Linear(64, 64)])
        self.s = nn.Linear(64, 1)
        self.f = nn.Linear(64, 64)
        self.v = nn.Linear(64, 32)
        self.c = nn.Linear(32, 3)

    def forward(self, x):
        for layer in self.l:
            x = F.relu(layer(x))
        s = F.relu(self.s(x))
        f = self.f(x)
        return torch.cat([torch.sigmoid(self.c(F.relu(self.v(torch.cat([f, f], -1)[..., :64])))), s], -1)


class PINN(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x):
        x = x.requires_grad_(True)
        u = self.n(x)
        return u, torch.autograd.grad(u.sum(), x, create_graph=True)[0]


class HiFiGAN(nn.Module):
    def __init__(self):
        super().__init__()
        wn = torch.nn.utils.weight_norm
        self.pre = wn(nn.Conv1d(80, 64, 7, padding=3))
        self.ups = nn.ModuleList([wn(nn.ConvTranspose1d(64, 32, 16, 8, 4)), wn(nn.ConvTranspose1d(32, 16, 4, 2, 1))])
        self.post = wn(nn.Conv1d(16, 1, 7, padding=3))

    def forward(self, x):
        x = self.pre(x)
        for u in self.ups:
            x = u(F.leaky_relu(x, 0.1))
        return torch.tanh(self.post(F.leaky_relu(x)))


class DeepSupervision(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = double_conv(3, 8)
        self.b = double_conv(8, 16)
        self.o1 = nn.Conv2d(8, 2, 1)
        self.o2 = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        return {"out": self.o1(a), "aux": self.o2(b)}


class MinibatchStd(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.LeakyReLU(0.2))
        self.o = nn.Sequential(nn.Conv2d(17, 16, 3, padding=1), nn.LeakyReLU(0.2))
        self.l = nn.Linear(16 * 64, 1)

    def forward(self, x):
        x = self.c(x)
        y = x - x.mean(0)
        y = (y.square().mean(0) + 1e-8).sqrt().mean().reshape(1, 1, 1, 1).repeat(len(x), 1, *x.shape[2:])
        return self.l(self.o(torch.cat([x, y], 1)).flatten(1))
