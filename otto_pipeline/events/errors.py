"""A log that cannot be used."""


class LogError(ValueError):
    """The raw log or one of its files is missing, empty, cut off or malformed."""
