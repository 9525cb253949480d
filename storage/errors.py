"""Errors of the storage package, as one small tree.

The docstring of each class says what happened and what to do; it is the default message. No message holds a
Discord id, a text or a key. Imports nothing.

Errors::

    StorageError
     +-- NoConsent            the member did not agree; nothing was stored
     +-- LearningPaused       the member paused learning; nothing new was stored
     +-- NotTrainer           another process is the trainer; nothing of the round was stored
     +-- UnknownReply         no such reply in this server
     +-- UnknownEntry         no such entry of /faq in this server
     +-- FaqFull              the server has the maximum number of entries of /faq
     +-- AlreadyOpen          another process uses the data or the keys
     +-- StoreClosed          the store was closed before the call
     +-- WriterFull           the queue of writes is full
     +-- StoreMissing         there is no store in the folder that the settings name
     +-- KeyMissing           a key that existing data needs is missing
     +-- KeyUnreadable        a key exists but cannot be used
     +-- LedgerBehind         the erasure ledger is older than the data
     +-- SealBroken           a sealed value cannot be opened
     +-- DatabaseFailed       the database refused a read or a write
          +-- DatabaseDamaged     the file is damaged or not a database
          +-- DatabaseNewer       the file was written by a newer version
"""

from __future__ import annotations

import inspect


class StorageError(Exception):
    """The store could not carry out an operation."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class NoConsent(StorageError):
    """This member has not agreed, so nothing was stored; ask for consent first."""


class LearningPaused(StorageError):
    """This member paused learning, so nothing new was stored; they can resume it in `/feedback`."""


class NotTrainer(StorageError):
    """Another process is the trainer now, so nothing of this round was stored; training continues there."""


class UnknownReply(StorageError):
    """No such reply is stored in this server; it may have been deleted or forgotten."""


class UnknownEntry(StorageError):
    """No such entry of /faq is stored in this server; it may have been removed."""


class FaqFull(StorageError):
    """This server has the maximum number of entries of /faq; remove one first."""


class AlreadyOpen(StorageError):
    """Another process uses the data or the keys; stop it first, or wait until it ends."""


class StoreClosed(StorageError):
    """The store is closed; nothing was written."""


class WriterFull(StorageError):
    """Too many writes are waiting, so this one was rejected; try again in a moment."""


class StoreMissing(StorageError):
    """There is no store in the folder that the settings name, and this command creates none."""


class KeyMissing(StorageError):
    """A key that existing data needs is missing; restore it from its backup."""


class KeyUnreadable(StorageError):
    """A key exists but cannot be used; the message says what was expected."""


class LedgerBehind(StorageError):
    """The erasure ledger is missing or older than the data; restore its newest copy."""


class SealBroken(StorageError):
    """A sealed value cannot be opened: it was changed or moved, or sealed under another key."""


class DatabaseFailed(StorageError):
    """The database refused a read or a write; check free space and permissions of the data folder."""


class DatabaseDamaged(DatabaseFailed):
    """The file is damaged or not a database; restore it from a backup."""


class DatabaseNewer(DatabaseFailed):
    """The database was written by a newer version of Simpatico; run that version or a later one."""
