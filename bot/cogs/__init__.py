"""Thin cogs: receive an event, call the logic, answer."""
