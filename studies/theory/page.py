"""The report as one self-contained HTML page: styles, pictures, formulas and scripts inside, nothing from a network."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL import Image

PHOTOGRAPHIC = 250_000  # bytes; larger pictures are taken for photographs
ZOOM = 4  # screen pixels a pixel of a crop


def html(markdown: str, template: str, folder: Path, widgets: Mapping[str, str]) -> str:
    """markdown: the report; template: report/page.html.jinja; folder: what picture paths are relative to; widgets: what takes
    the place of each `<!-- sliders NAME -->`."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table").use(anchors_plugin, max_level=3)
    reader.use(dollarmath_plugin, renderer=lambda text, options: convert(text, display="block" if options["display_mode"] else "inline"))
    body = reader.render(markdown)
    body = re.sub(r"<!-- sliders (\S+) -->", lambda found: widgets.get(found[1], ""), body)
    body = re.sub(r'<img src="([^"]+)" alt="([^"]*)"', lambda m: f'<img loading="lazy" src="{_inline(folder / m[1])}" alt="{m[2]}"', body)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return Environment(autoescape=False).from_string(template).render(body=body)


def _inline(file: Path) -> str:
    """A picture file as a data URI: photographs as JPEG, plots with a palette of 128 colours."""
    image, packed = Image.open(file).convert("RGB"), io.BytesIO()
    if file.stat().st_size > PHOTOGRAPHIC:
        image.save(packed, "JPEG", quality=75)
        return _uri(packed.getvalue(), "jpeg")
    image.quantize(128).save(packed, "PNG", optimize=True)
    return _uri(packed.getvalue(), "png")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def picture(image: np.ndarray) -> str:
    """uint8 [H, W, 3] as a data URI."""
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "PNG")
    return _uri(packed.getvalue(), "png")


def before_after(before: np.ndarray, after: np.ndarray, names: tuple[str, str]) -> str:
    """Two pictures side by side; with scripts, one over the other with a slider between them."""
    side = before.shape[0] * ZOOM
    pair = "".join(
        f'<figure><img width="{side}" height="{side}" src="{picture(image)}" alt="{name}"><figcaption>{name}</figcaption></figure>'
        for image, name in zip((before, after), names, strict=True)
    )
    return f'<div class="compare" data-side="{side}">{pair}</div>'


def steps(frames: np.ndarray, labels: list[str], title: str, marked: Mapping[int, str]) -> str:
    """A row of pictures; with scripts, one picture with a slider. marked: {index: what happened there}. frames: [n, H, W, 3]."""
    side = frames.shape[1] * ZOOM
    shown = "".join(
        f'<figure data-mark="{marked.get(i, "")}"><img width="{side}" height="{side}" src="{picture(frame)}" alt="{label}">'
        f"<figcaption>{label}{f' <b>{marked[i]}</b>' if i in marked else ''}</figcaption></figure>"
        for i, (frame, label) in enumerate(zip(frames, labels, strict=True))
    )
    return f'<div class="steps"><p>{title}</p><div class="frames">{shown}</div></div>'
