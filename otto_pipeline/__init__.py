"""otto_pipeline: from a raw session log to the items each session will click, cart and order."""

import os
import shutil
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

PACKAGE = Path(__file__).parent
KEPT_SECONDS = 30 * 86_400
"""How long kernels of other sources are kept."""


def _kernel_folder() -> Path:
    """Where compiled kernels of exactly these sources lie.

    numba compiles a kernel again when its own file has changed, but not when that of a function
    which it calls has: after an update it would go on with half of the old code.
    """
    digest = blake2b(digest_size=8)
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    folder = PACKAGE / "__pycache__" / f"kernels-{digest.hexdigest()}"
    for earlier in folder.parent.glob("kernels-*"):  # a run that still goes on may use a young one
        with suppress(OSError):
            if earlier != folder and time.time() - earlier.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(earlier)
    return folder


_set = os.environ.get("NUMBA_CACHE_DIR")
if _set is None or Path(_set).parent == PACKAGE / "__pycache__":  # ours, from a parent process
    os.environ["NUMBA_CACHE_DIR"] = str(_kernel_folder())
# XGBoost's threads wait for each other by spinning, which on a busy machine takes ten times as
# long as sleeping (measured: 18.8 s against 1.7 s for 100 small trees beside two busy processes)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
