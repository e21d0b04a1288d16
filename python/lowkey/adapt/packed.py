"""Numbers that form=factor keeps of old tokens in fewer than 16 bits, as src/attention/atp_packed.h packs them."""
import torch
import torch.nn.functional as F

BLOCK = 32


def packed(z, bits, numbers):
    """z [B, n, R] as it is read back; `numbers`, of R <= numbers, are set aside. The gradient is that of z itself."""
    if bits == 16:
        return z
    blocks = F.pad(z.detach(), (0, -z.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    wide = -(-numbers // BLOCK)
    if bits == 4:
        wide = -(-wide // 4)
    kept = torch.cat((_eight(blocks[..., :wide, :]), _four(blocks[..., wide:, :])), -2).flatten(-2)
    return z + (kept[..., : z.shape[-1]] - z.detach())


def _eight(x):
    """Q8_0"""
    scale = x.abs().amax(-1, keepdim=True) / 127
    codes = torch.round(x * torch.where(scale > 0, 1 / scale, 0.0))
    return codes * scale.half().float()


def _four(x):
    """Q4_0"""
    extreme = x.gather(-1, x.abs().argmax(-1, keepdim=True))
    scale = extreme / -8
    codes = (x * torch.where(scale != 0, 1 / scale, 0.0) + 8.5).floor().clamp(max=15)
    return (codes - 8) * scale.half().float()
