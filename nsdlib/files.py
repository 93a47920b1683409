"""Files that are whole or not there."""


def write_whole(path, text):
    """Write a text file beside its place and rename it, so that nobody finds half of it there."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
