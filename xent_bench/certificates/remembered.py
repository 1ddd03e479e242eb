"""Certificates that were computed before: a certificate takes 0.2 to 2 s, and all of them 10 s.

A file in the user's cache folder holds one certificate. Its name is a hash of all that decides it:
the loss's code with what it imports, its hyper-parameters, the number of classes, the code of this
folder, and the versions of the libraries. A file that is damaged counts as missing.
"""

import json
from contextlib import suppress
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from xent_bench.cache_folder import cache_folder
from xent_bench.certificates.certify import Certificate, certify
from xent_bench.config.code_hash import code_of

LIBRARIES = ("torch", "numpy", "scipy")
CERTIFICATE = TypeAdapter(Certificate)


def certificate_of(loss: "partial[Any]", classes: int) -> Certificate:
    """The certificate of a configured loss, read from the cache folder or computed and kept."""
    try:
        file = cache_folder() / "certificates" / f"{_key(loss, classes)}.json"
    except (RuntimeError, OSError, ValueError):  # no home folder; no source
        return certify(loss, classes)
    with suppress(OSError, ValueError):
        return CERTIFICATE.validate_python(json.loads(file.read_bytes()))
    certificate = certify(loss, classes)
    with suppress(OSError):  # the folder cannot be written: computed again next time
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(CERTIFICATE.dump_python(certificate, mode="json")))
        part.replace(file)
    return certificate


def _key(loss: "partial[Any]", classes: int) -> str:
    target = f"{loss.func.__module__}.{loss.func.__qualname__}"
    inputs = [target, code_of(target), loss.keywords, classes, _ours()]
    return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _ours() -> list[str]:
    """Hashes of this folder's code, and the versions of the libraries."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    digests = [sha256(file.read_bytes()).hexdigest() for file in files]
    return [*digests, *(f"{name} {version(name)}" for name in LIBRARIES)]
