"""A host name for every notebook, so that a browser keeps them apart: ``<id>.<base>``. Pure."""


def label_of(host: str, base: str) -> str | None:
    """Return what stands before ``base`` in a Host field; None for a host that is not below it.

    The port counts when ``base`` has one.
    """
    host = host.lower()
    if ":" not in base:
        host = host.partition(":")[0]
    return host.removesuffix(f".{base}") if host.endswith(f".{base}") else None


def host_of(notebook_id: str, base: str) -> str:
    return f"{notebook_id}.{base}"
