"""Secrets in the addresses of stores: how they are recognised, and masked wherever they are shown.

A secret is a password or a token before the host, or the value of a key such as `password`.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

MASK = "***"
FILES = ("sqlite", "file")  # schemes whose addresses have no host: an @ is part of a file's name
WEB = ("http", "https")  # a name before the host is sent as a login, and may be a token
NO_PASSWORD = ("", "x", "x-oauth-basic")  # beside these the name is the token
# Each repetition is bounded: without a bound a text of 300,000 letters takes minutes.
_ADDRESS = re.compile(
    r"(?P<scheme>(?:\w[\w+.-]{0,60})(?=://)|https?(?=:))(?P<slashes>:/{0,2})(?P<place>[^\s'\"<>`]*)",
    re.IGNORECASE,
)
_NO_SCHEME = re.compile(
    r"(?<![\w/:.@*-])([\w.%+-]{1,200}):[^\s/@]{1,1000}@(?=[\w\[])"
)  # user:password@host
# also within another value, as in odbc_connect=...%3BPWD%3D...
_SECRET_KEY = re.compile(
    r"(?P<key>[\w.-]{0,60}(?:pass(?!file)|pwd|secret|token|credential|api[-_]?key|access[-_]?key|jwt"
    r"|authorization|\bsig(?:nature)?\b|odbc_connect)[\w.-]{0,60})=(?P<value>[^&;#\s]*)",
    re.IGNORECASE,
)
_QUERY_VALUE = re.compile(r"(?P<key>[^?&=#]*)(?P<equals>=)(?P<value>[^&#]+)")


def masked_address(uri: str) -> str:
    """Return the address of a store with its secrets replaced by ***."""
    return masked(re.sub(r"[\s'\"<>`]", lambda match: quote(match[0]), uri))


def masked(text: object) -> str:
    """Return the text with the secrets in each address within it replaced by ***."""
    return _NO_SCHEME.sub(rf"\1:{MASK}@", _ADDRESS.sub(_masked_address, str(text)))


def holds_secret(uri: str) -> bool:
    """Whether the address holds what `masked` would hide."""
    plain = re.sub(r"[\s'\"<>`]", "_", uri)
    return masked(plain) != plain


def _masked_address(match: re.Match[str]) -> str:
    scheme, place = match["scheme"].lower().partition("+")[0], match["place"]
    if scheme not in FILES:
        login, at, rest = _split_login(place)
        if at:
            user, colon, password = login.partition(":")
            if scheme in WEB and password in NO_PASSWORD:
                place = f"{MASK}{at}{rest}"
            elif password:
                place = f"{user}{colon}{MASK}{at}{rest}"
    place, hash_sign, fragment = place.partition("#")  # never sent, but it may be typed
    path, question_mark, query = place.partition("?")
    if scheme not in FILES:
        path = _masked_values(path)
    place = (
        f"{path}{question_mark}{_masked_query(scheme, query)}{hash_sign}{_masked_values(fragment)}"
    )
    return f"{match['scheme']}{match['slashes']}{place}"


def _split_login(place: str) -> tuple[str, str, str]:
    """Split at the @ before the host. A password may hold an unquoted / or ?, which ends a host."""
    end = re.search(r"[/?#]", place)
    authority = place[: end.start()] if end else place
    if "@" not in authority and re.search(r":\D", authority):  # what follows is no port
        authority = place
    login, at, _ = authority.rpartition("@")
    return login, at, place[len(login) + 1 :]


def _masked_query(scheme: str, query: str) -> str:
    """Mask all values that a web address passes, where MLflow has no use for any, else secrets."""
    if scheme in WEB:
        return _QUERY_VALUE.sub(rf"\g<key>\g<equals>{MASK}", query)
    return "&".join(_masked_values(pair) for pair in query.split("&"))


def _masked_values(text: str) -> str:
    spans = list(_secret_spans(text))
    for start, end in reversed(spans):
        text = text[:start] + MASK + text[end:]
    return text


def _secret_spans(text: str) -> Iterator[tuple[int, int]]:
    """Places of secret values; where the text is percent-encoded, that of its whole value."""
    for match in _SECRET_KEY.finditer(text):
        if match["value"] and match["value"] != MASK:
            yield match.span("value")
    if "%" in text and not _SECRET_KEY.search(text) and _SECRET_KEY.search(unquote(text)):
        yield (text.find("=") + 1 or 0, len(text))
