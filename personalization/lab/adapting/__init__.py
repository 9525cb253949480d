"""Adaptation of the shared encoder with LoRA on public judgements: steps, checkpoints, the whole run.

May import every other room of ``personalization``. The running bot never imports it.
"""
