"""Images as data URIs, which the browser shows without another request."""

import base64
import io

from PIL import Image


def data_uri(content: bytes, image_format: str = "png") -> str:
    """Return the content of an image file as a data URI."""
    return f"data:image/{image_format};base64,{base64.b64encode(content).decode()}"


def png_data_uri(image: Image.Image) -> str:
    """Return an image as a data URI in PNG format."""
    return _encoded(image, "png")


def jpeg_data_uri(image: Image.Image) -> str:
    """Return an image as the data URI of a JPEG, which is much smaller than a PNG where there is noise."""
    return _encoded(image, "jpeg", quality=90, subsampling=0)  # chroma subsampling would blur pixel art


def _encoded(image: Image.Image, image_format: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return data_uri(buffer.getvalue(), image_format)
