"""Images of pages, as from a scanner or a telephone: slightly rotated, with specks, always the same bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import reportlab
from PIL import Image, ImageDraw, ImageFont

from sandbox.sample_data.page_layout import HEIGHT, WIDTH, Page

PIXELS_PER_POINT = 1.4
FONT_PATH = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
"""A free font that comes with reportlab and has the letters of Latin-1."""
IMAGE_SIZE = (round(WIDTH * PIXELS_PER_POINT), round(HEIGHT * PIXELS_PER_POINT))


def render_scan(page: Page, *, degrees: float, seed: str) -> Image.Image:
    """Return the page in grey, rotated by ``degrees``, with specks that depend on ``seed``."""
    image = Image.new("L", IMAGE_SIZE, 255)
    draw = ImageDraw.Draw(image)
    for text_run in page:
        font = ImageFont.truetype(FONT_PATH, round(text_run.font_size * PIXELS_PER_POINT * 0.9))
        draw.text(
            (text_run.x * PIXELS_PER_POINT, (text_run.y - text_run.font_size) * PIXELS_PER_POINT),
            text_run.text,
            fill=20,
            font=font,
        )
    image = image.rotate(degrees, resample=Image.Resampling.BILINEAR, fillcolor=255)
    _add_specks(image, seed)
    return image


def encode_png(image: Image.Image) -> bytes:
    """Return the image as PNG with sixteen shades of grey."""
    buffer = io.BytesIO()
    image.quantize(16).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60, dpi=(100, 100))
    return buffer.getvalue()


def render_logo_png() -> bytes:
    """Return a small coloured PNG, like the logo in a mail signature."""
    image = Image.new("RGB", (120, 40), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 36, 36), fill=(200, 40, 40))
    draw.text((44, 12), "MUSTERWERK", fill=(40, 40, 40), font=ImageFont.truetype(FONT_PATH, 10))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _add_specks(image: Image.Image, seed: str) -> None:
    width, height = image.size
    noise = hashlib.shake_256(seed.encode()).digest(600 * 5)
    for offset in range(0, len(noise), 5):
        x = int.from_bytes(noise[offset : offset + 2], "big") % width
        y = int.from_bytes(noise[offset + 2 : offset + 4], "big") % height
        image.putpixel((x, y), noise[offset + 4] // 2)
