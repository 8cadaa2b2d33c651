"""What a form has sent: read in bounds, and checked to be ours."""

from datetime import datetime
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from celery_dtimer.posting.eta import eta_of
from celery_dtimer.timer.times import ms_to_datetime

#: Bytes and fields of a form.
MOST_BYTES, MOST_FIELDS = 256 * 1024, 2000


class Form:
    """Fields of a form, or of an address."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return next((value for field, value in self._fields if field == name), default)

    def all(self, name: str) -> list[str]:
        """Return every value of a field, each once."""
        return list(dict.fromkeys(value for field, value in self._fields if field == name))

    def kept(self, *names: str) -> dict[str, str]:
        """Return the fields that are not empty of these."""
        return {name: value for name in names if (value := self.get(name).strip())}

    def instant(self, name: str) -> datetime | None:
        """Return the instant that a field has, read as UTC without a zone; None: it is empty.

        Raises:
            InvalidDelayError: It has none.
        """
        text = self.get(name).strip()
        return ms_to_datetime(eta_of(text, name)) if text else None

    def number(self, name: str, default: int = 0) -> int:
        """Return the whole number that a field has.

        Raises:
            HTTPException: It has none.
        """
        text = self.get(name).strip()
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 16):  # noqa: PLR2004 - digits of 2**53
            raise HTTPException(400, f"{name} must be a whole number of at most 16 digits, got {text[:100]!r}")
        return int(text)


async def read_form(request: Request) -> Form:
    """Return the fields of a request's body.

    Raises:
        HTTPException: It is too long, or no form.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a form must have at most {MOST_BYTES} bytes")
    try:
        return Form(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as exc:
        raise HTTPException(400, "the body must be a form as browsers send it, of at most 2000 fields") from exc


def query_form(request: Request) -> Form:
    """Return the fields of a request's address."""
    return Form(list(request.query_params.multi_items()))
