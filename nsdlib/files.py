"""Files that are whole or not there."""


def write_whole(path, content):
    """Write a file, text or bytes, beside its place and rename it, so that nobody finds half of it there."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.replace(path)
