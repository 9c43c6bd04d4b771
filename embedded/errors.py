"""What can go wrong with the servers and the folder they live in."""


class EmbeddedError(Exception):
    """The docstring of the error is its message, *detail* is what is known about this case."""

    def __init__(self, detail: str = "") -> None:
        """Compose the message."""
        super().__init__(f"{type(self).__doc__}\n{detail}".strip())


class ServerDidNotStart(EmbeddedError):
    """The server ended or stayed silent before it answered; its last words follow."""


class BinaryMissing(EmbeddedError):
    """There is no server program; requirements.lock installs it (the extra `embedded`)."""


class FolderClosed(EmbeddedError):
    """PostgreSQL may not run as root, and the user `nobody` may not pass this folder or file."""


class FolderForeign(EmbeddedError):
    """Another user owns this folder; remove it as that user, or as root."""


class AlreadyRunning(EmbeddedError):
    """`make run` is up already; Ctrl-C in its terminal stops it."""


class NotRunning(EmbeddedError):
    """The servers have no address: start them with `make run`, or set this variable."""


class ServerEnded(EmbeddedError):
    """One of the servers has ended; its last words follow."""


class ProgramEnded(EmbeddedError):
    """One of the programs has ended; its last words follow."""


class SampleFailed(EmbeddedError):
    """The sample catalog could not be loaded; its last words follow."""


class NotAnAddress(EmbeddedError):
    """A URL such as postgresql://user@host/database or redis://host:6379/0 is expected here."""


class AddressRefused(EmbeddedError):
    """A server could not be reached at this address, or refused what was asked."""
