"""LanceDB's connections and tables, as a storage says where they are."""

from datetime import timedelta
from typing import Any

from serval_registry import lance
from serval_registry.storage import Storage

# What a connection keeps of what it has read. Every commit of a table leaves some 0.3 MB in LanceDB's caches, which by
# themselves grow to 1 GiB and to 6 GiB; of a million versions, the index and the newest metadata have room in these.
METADATA_BYTES = 128 << 20
INDEX_BYTES = 256 << 20


def connect(storage: Storage) -> Any:
    """Return a LanceDB connection that sees what others have committed."""
    with storage.faults.of(storage.tables):
        return lance.connect(
            storage.tables,
            read_consistency_interval=timedelta(0),
            storage_options=storage.options or None,
            session=lance.Session(index_cache_size_bytes=INDEX_BYTES, metadata_cache_size_bytes=METADATA_BYTES),
        )


def open_table(connection: Any, storage: Storage, name: str) -> Any:
    """Return LanceDB's table of this name; None where it has no commit: nobody has finished making it."""
    with storage.faults.of(uri(storage, name)):
        try:
            return connection.open_table(name)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise


def uri(storage: Storage, name: str) -> str:
    """Return where a table lies."""
    return f"{storage.tables}/{name}.lance"
