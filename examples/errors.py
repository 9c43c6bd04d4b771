"""What can keep an import from its end; whatever was committed before stays."""


class ImportFailed(Exception):
    """The docstring of the error is its message, *detail* is what is known about this case."""

    def __init__(self, detail: str = "") -> None:
        """Compose the message."""
        super().__init__(f"{self.__doc__} {detail}".strip())


class SettingRefused(ImportFailed):
    """A variable of the environment is missing or wrong; the message is the one *sentence*."""

    def __init__(self, sentence: str) -> None:
        """Say only *sentence*, which names the variable."""
        Exception.__init__(self, sentence)


class DatabaseUnavailable(ImportFailed):
    """The database that DATABASE_URL names cannot be used."""


class ManifestRefused(ImportFailed):
    """The database takes manifests of another origin only: see catalog.set_cdn_base_url()."""
