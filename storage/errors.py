"""What can go wrong in storage, as one small tree.

Each class says in its docstring what happened and what to do; that sentence is the default message. No
message holds a Discord id, a text or a key. Imports nothing.

Errors::

    StorageError
     +-- NoConsent            the member did not agree; nothing was stored
     +-- LearningPaused       the member paused learning; nothing new was stored
     +-- NotTrainer           another process trains; nothing of the round was stored
     +-- UnknownReply         no such reply in this server
     +-- UnknownEntry         no such entry of /faq in this server
     +-- FaqFull              the server has as many entries of /faq as it may
     +-- AlreadyOpen          another process uses the data folder
     +-- StoreClosed          the store was closed before the call
     +-- WriterFull           too many writes wait
     +-- KeyMissing           a key that existing data needs is not there
     +-- KeyUnreadable        a key is there but cannot be used
     +-- LedgerBehind         the erasure ledger is older than the data
     +-- SealBroken           a sealed value does not open at its place
     +-- DatabaseFailed       the database refused a read or a write
          +-- DatabaseDamaged     the file is not a sound database
          +-- DatabaseNewer       the file was written by a newer version
"""

from __future__ import annotations

import inspect


class StorageError(Exception):
    """The store could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class NoConsent(StorageError):
    """This member has not agreed to be learnt from, so nothing is stored; ask for consent first."""


class LearningPaused(StorageError):
    """This member has paused learning, so nothing new is stored; they can go on in `/feedback`."""


class NotTrainer(StorageError):
    """Another process trains now, so nothing of this round was stored; it goes on there."""


class UnknownReply(StorageError):
    """No such reply is stored in this server; it may have been deleted or forgotten."""


class UnknownEntry(StorageError):
    """No such entry of /faq is stored in this server; it may have been removed."""


class FaqFull(StorageError):
    """The server has as many entries of /faq as it may; remove one first."""


class AlreadyOpen(StorageError):
    """Another process uses the data folder; stop it first, or give this one a folder of its own."""


class StoreClosed(StorageError):
    """The store is closed; nothing was written."""


class WriterFull(StorageError):
    """Too many writes are waiting, so this one was not taken; try again in a moment."""


class KeyMissing(StorageError):
    """A key that existing data needs is not there; restore it from its backup."""


class KeyUnreadable(StorageError):
    """A key is there but cannot be used; see the message for what was expected."""


class LedgerBehind(StorageError):
    """The erasure ledger is older than the data, or gone; put its newest copy back."""


class SealBroken(StorageError):
    """A sealed value does not open at its place: it was changed, moved, or sealed under another key."""


class DatabaseFailed(StorageError):
    """The database refused a read or a write; look at free space and permissions of the data folder."""


class DatabaseDamaged(DatabaseFailed):
    """The file is not a sound database; restore it from a backup."""


class DatabaseNewer(DatabaseFailed):
    """The database was written by a newer version of Simpatico; run that version or a later one."""
