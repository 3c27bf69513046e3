"""Every setting once: name, meaning, default, validation.

Each is read from the environment (`OTTO_<NAME>`), else from the TOML file that
`OTTO_SETTINGS_FILE` names, else it has the default given here. A stage of the pipeline declares
which settings it reads; only those enter its fingerprint.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

PREFIX = "OTTO_"
SETTINGS_FILE = "OTTO_SETTINGS_FILE"

SCALES = ("demo", "pct1", "pct10", "full")
"""The partitions: `demo` is generated, the others are samples of the configured log."""


class SettingsError(ValueError):
    """A setting is unknown or has a value that cannot be used."""


@contextmanager
def extra(name: str, wanted_by: str) -> Iterator[None]:
    """Around the import of a library that only the package's extra `name` brings.

    Raises:
        SettingsError: it is not installed; says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{wanted_by} needs {error.name}, which is not installed: "
            f"pip install 'otto-pipeline[{name}]'"
        ) from None


def machine_memory_gb() -> float:
    """60 % of the memory that this process may use (the container's limit where there is one)."""
    total = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return round(0.6 * total / 2**30, 1)


def machine_threads() -> int:
    """The cores that this process may use."""
    if hasattr(psutil.Process, "cpu_affinity"):
        return len(psutil.Process().cpu_affinity())
    return psutil.cpu_count() or 1


class Settings(BaseModel):
    """Settings of a run; immutable."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    data_dir: Path | None = Field(
        None,
        description="The log: a folder with `train.jsonl` or `train_sessions.jsonl` and optionally "
        "`test.jsonl` or `test_sessions.jsonl`, plain, .gz or .zst; or one such file; "
        "or a folder with a `log.yaml` that declares CSV or Parquet files. The scale `demo` "
        "needs none.",
    )
    store_dir: Path = Field(
        Path("store"),
        description="Where artifacts lie. One store holds one log and seed, and refuses another.",
    )
    seed: int = Field(
        42, ge=0, lt=2**31, description="Seed of every random choice, the validation cut included."
    )
    validation_days: float = Field(
        7.0,
        gt=0,
        description="Length in days of the held-out window at the end of the log; may be a "
        "fraction.",
    )
    memory_gb: float = Field(
        default_factory=machine_memory_gb,
        gt=0.5,
        description="Memory budget in GB: the size of the pieces that a stage holds at once. "
        "Default 60 % of the machine.",
    )
    threads: int = Field(
        default_factory=machine_threads, ge=1, description="Threads. Default all cores."
    )
    compute: str = Field(
        "local", description="Where shards are computed: `local`. No other engine exists yet."
    )
    max_quarantined_share: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Largest share of the log's lines that may be malformed before a run fails.",
    )
    matrices: tuple[str, ...] = Field(
        ("time", "cart_order", "buy2buy", "close_day", "next20", "close_21d"),
        description="Co-visitation matrices to build, by the names in `retrieval/matrices.py`, "
        "with commas between; or `all`.",
    )
    embeddings: tuple[str, ...] = Field(
        ("spectral",),
        description="Embeddings to learn, by the names in `retrieval/embeddings.py`, with commas "
        "between; or `all`, or `none`.",
    )
    max_candidates: int = Field(
        80, ge=20, le=1000, description="Candidates of a session that go on to the rankers."
    )
    eligibility_file: Path | None = Field(
        None,
        description="A CSV or Parquet file of items that may not, or not always, be recommended.",
    )
    exclude_ordered: bool = Field(
        False, description="Recommend to no session what it has already ordered."
    )
    negatives: int = Field(
        20, ge=1, description="Negative rows of a training session and target, sampled."
    )
    training_rows: int = Field(
        6_000_000, ge=1000, description="Largest number of training rows of one target."
    )
    folds: int = Field(5, ge=2, le=20, description="Folds of the out-of-fold scores, by session.")
    boosting_rounds: int = Field(
        300, ge=1, description="Largest number of trees of a ranker; early stopping ends sooner."
    )
    rankers_file: Path | None = Field(
        None,
        description="A TOML file with parameters of XGBoost by target, as `otto tune` writes; they "
        "take the place of those that follow from the number of labels.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where rankers are trained.")
    sessions_per_shard: int = Field(
        50_000,
        ge=1,
        description="Query sessions in one shard of candidates, features and predictions. Leaves "
        "no trace in the result.",
    )
    items_per_shard: int = Field(
        1_000_000,
        ge=1,
        description="Items in one shard of a co-visitation matrix. Leaves no trace in the result.",
    )
    demo_sessions: int = Field(
        16_000, ge=100, description="Sessions of the generated log of the scale `demo`."
    )

    @field_validator("compute")
    @classmethod
    def _only_local(cls, value: str) -> str:
        if value != "local":
            raise ValueError(
                "shards are computed on this machine only so far; leave it out or set it to 'local'"
            )
        return value

    @field_validator("matrices", "embeddings", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("data_dir", "store_dir", "eligibility_file", mode="before")
    @classmethod
    def _no_urls(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "addresses are not supported yet, only folders of this machine; copy the data to "
                "a local folder"
            )
        if value == "":
            raise ValueError("is empty; leave it out or give a path")
        return value

    @field_validator("data_dir", "store_dir", "eligibility_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from environment and file.

    Raises:
        SettingsError: names the setting, its value, and what is wrong with it.
    """
    path = environment.get(SETTINGS_FILE)
    values = _read_file(Path(path)) if path else {}
    values |= _read_environment(environment)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None


def settings_table() -> str:
    """Name, meaning and default of every setting, as a Markdown table."""
    lines = ["| setting | meaning | default |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else field.default
        shown = {None: "none", "": "by machine"}.get(default, default)
        if isinstance(shown, tuple):
            shown = ",".join(shown)
        lines.append(f"| `{PREFIX}{name.upper()}` | {field.description} | {shown} |")
    return "\n".join(lines)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{SETTINGS_FILE}={path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SETTINGS_FILE}={path}: is not TOML: {error}") from None


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    names = {key for key in environment if key.startswith(PREFIX) and key != SETTINGS_FILE}
    return {key.removeprefix(PREFIX).lower(): environment[key] for key in sorted(names)}


def _explain(error: ValidationError, path: str | None) -> str:
    source = f"the environment or {path}" if path else "the environment"
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""
            lines.append(f"{PREFIX}{name.upper()} (from {source}) is not a setting{hint}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{PREFIX}{name.upper()}={problem['input']}: {message}")
    return "\n".join(lines)
