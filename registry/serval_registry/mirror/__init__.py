"""The table of versions once more, laid out for reading: derived files that are mapped into memory, never the truth.

LanceDB takes some milliseconds for every question, and at a million rows ten times as many. A mirror holds every row,
its vector and what filters ask for as of one commit, in files that all processes of the machine share through the page
cache; what has been written since is held beside it (`view`). Housekeeping writes a new one when that has become much.

    DATA/mirror.json            the newest mirror: its folder, commit, revision and the sizes of its files
    DATA/mirror/NUMBER-.../     its files, which never change

It may be deleted at any time: reading then asks LanceDB, until there is another. A bucket has none.
"""
