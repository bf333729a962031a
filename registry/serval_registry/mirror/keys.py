"""The names and versions of a mirror's rows in their order, apart from the rows: a search for one touches few pages."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.mirror import sorted_texts
from serval_registry.mirror.files import Array, Draft, Files
from serval_registry.mirror.sorted_texts import SortedTexts
from serval_registry.mirror.texts import Key

Places = npt.NDArray[np.int64]


def write(draft: Draft, keys: pa.Table) -> Places:
    """Write the keys of rows, columns `name` and `version`; return which of the rows is at each place."""
    order = pc.sort_indices(keys, sort_keys=[("name", "ascending"), ("version", "ascending")])
    names = keys["name"].take(order).combine_chunks().dictionary_encode()  # in order, as the names are
    sorted_texts.write(draft, "name", names.dictionary)
    codes = names.indices.to_numpy(zero_copy_only=False)
    draft.put("name-starts", np.searchsorted(codes, np.arange(len(names.dictionary) + 1)))
    draft.put("key-versions", keys["version"].take(order).to_numpy().astype("<i8"))
    found: Places = order.to_numpy().astype(np.int64)
    return found


class Keys:
    """The keys, mapped."""

    def __init__(self, files: Files) -> None:
        self._names = SortedTexts(files, "name")
        self._starts: Array = files.array("name-starts")
        self._versions: Array = files.array("key-versions")

    def __len__(self) -> int:
        return len(self._versions)

    def places_of(self, name: str) -> range:
        """Return the places of a name; where there is none of it, none, and it begins where its first would be."""
        at = self._names.place_of(name)
        begin = int(self._starts[at])
        known = at < len(self._names) and self._names[at] == name.encode()
        return range(begin, int(self._starts[at + 1]) if known else begin)

    def place_of(self, key: Key) -> int:
        """Return the first place whose key is not below this one."""
        return self._searched(self.places_of(key[0]), key[1])

    def place_at(self, key: Key) -> int | None:
        """Return the place of a key, if it is there."""
        places = self.places_of(key[0])
        place = self._searched(places, key[1])
        return place if place < places.stop and self._versions[place] == key[1] else None

    def _searched(self, places: range, version: int) -> int:
        return places.start + int(np.searchsorted(self._versions[places.start : places.stop], version))

    def keys_at(self, places: Places) -> list[Key]:
        """Return the keys at ascending places."""
        known, numbers = np.unique(self.names_at(places), return_inverse=True)
        names = [self._names[number].decode() for number in known.tolist()]
        versions = self._versions[places].tolist()
        return [(names[number], version) for number, version in zip(numbers.tolist(), versions, strict=True)]

    def names_at(self, places: Places) -> Places:
        """Return the number of the name at each place."""
        return np.searchsorted(self._starts, places, side="right") - 1
