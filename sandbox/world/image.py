"""Pictures of pages, as a scanner or a telephone makes them: a little askew, specked, always the same bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import reportlab
from PIL import Image, ImageDraw, ImageFont

from sandbox.world.page import HEIGHT, WIDTH, Page

SCALE = 1.4
FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
"""A free font that comes with reportlab and knows the letters of Latin-1."""
SIZE = (round(WIDTH * SCALE), round(HEIGHT * SCALE))


def scan(page: Page, *, degrees: float, seed: str) -> Image.Image:
    """Return the page in grey, rotated by ``degrees`` and specked after ``seed``."""
    image = Image.new("L", SIZE, 255)
    draw = ImageDraw.Draw(image)
    for word in page:
        font = ImageFont.truetype(FONT, round(word.size * SCALE * 0.9))
        draw.text((word.x * SCALE, (word.y - word.size) * SCALE), word.text, fill=20, font=font)
    image = image.rotate(degrees, resample=Image.Resampling.BILINEAR, fillcolor=255)
    _speck(image, seed)
    return image


def png(image: Image.Image) -> bytes:
    """Return the picture as PNG, in sixteen greys."""
    out = io.BytesIO()
    image.quantize(16).save(out, "PNG", optimize=True)
    return out.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """Return the picture as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=60, dpi=(100, 100))
    return out.getvalue()


def logo() -> bytes:
    """Return a small colourful PNG: what a mail signature carries."""
    image = Image.new("RGB", (120, 40), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 36, 36), fill=(200, 40, 40))
    draw.text((44, 12), "MUSTERWERK", fill=(40, 40, 40), font=ImageFont.truetype(FONT, 10))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _speck(image: Image.Image, seed: str) -> None:
    width, height = image.size
    noise = hashlib.shake_256(seed.encode()).digest(600 * 5)
    for at in range(0, len(noise), 5):
        x = int.from_bytes(noise[at : at + 2], "big") % width
        y = int.from_bytes(noise[at + 2 : at + 4], "big") % height
        image.putpixel((x, y), noise[at + 4] // 2)
