"""otto_pipeline: from a raw session log to the items each session will click, cart and order."""

import os
import shutil
from hashlib import blake2b
from pathlib import Path

PACKAGE = Path(__file__).parent


def _kernel_folder() -> Path:
    """Where compiled kernels of exactly these sources lie; those of earlier sources are removed.

    numba compiles a kernel again when its own file has changed, but not when that of a function
    which it calls has: after an update it would go on with half of the old code.
    """
    digest = blake2b(digest_size=8)
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    folder = PACKAGE / "__pycache__" / f"kernels-{digest.hexdigest()}"
    if not folder.exists():
        for earlier in folder.parent.glob("kernels-*"):
            shutil.rmtree(earlier, ignore_errors=True)
    return folder


os.environ.setdefault("NUMBA_CACHE_DIR", str(_kernel_folder()))
# XGBoost's threads wait for each other by spinning, which on a busy machine takes ten times as
# long as sleeping (measured: 18.8 s against 1.7 s for 100 small trees beside two busy processes)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
