"""What the URL of a server may say.

Owns: refusing an URL that redis-py would misread in silence, showing one without its password. Must
not know: clients. redis-py takes what it cannot read for a default: a path that is no number for
database 0, and the start of a password with a slash for the port, which it then repeats.
"""

import re
from urllib.parse import urlsplit

__all__ = ["check_server_url", "without_password"]

_PASSWORD_OPTION = re.compile(r"(?<=[?&])password=[^&#]*&?")
_HINT = "what is neither letter nor digit in a password must be percent-encoded, as %2F for /"


def check_server_url(url: str) -> None:
    """Raises ValueError, whose text holds no part of a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"it cannot be taken apart; {_HINT}") from None
    if parts.scheme not in ("redis", "rediss"):
        return
    try:
        _ = parts.port
    except ValueError:
        reason = _HINT if "@" in url else "its port is no number from 0 to 65535"
        raise ValueError(reason) from None
    options = [option.partition("=")[0] for option in parts.query.split("&")]
    if any("@" in text for text in (parts.path, parts.fragment, *options)):
        raise ValueError(_HINT)
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise ValueError(f"{database!r} is no database number")


def without_password(url: str) -> str:
    """The URL without user and password, however badly they were written."""
    scheme, separator, rest = _PASSWORD_OPTION.sub("", url).rpartition("://")
    return (scheme + separator + rest.rpartition("@")[2]).rstrip("?&")
