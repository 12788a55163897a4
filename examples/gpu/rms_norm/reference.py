import torch


def reference(x, w, *, eps):
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * w.to(wide.dtype)).to(x.dtype)
