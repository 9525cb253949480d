"""Downloads of the catalogue's models from the Hugging Face hub: resumed, verified, pinned.

``download.py`` fetches files into the cache of ``huggingface_hub``, and ``pins.py`` keeps the hash of each
file from the first download on. The factory, the doctor and ``simpatico models`` call this room.
"""
