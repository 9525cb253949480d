"""Parts of the generator that asks a model server: what servers say, what they take, and how long to wait.

Servers that call themselves OpenAI-compatible differ in four ways, and each has one module here: the shape
of an answer (:mod:`~bot.generators.model_server.answers`), the words of a refusal
(:mod:`~bot.generators.model_server.refusals`), the parameters and roles that a model takes
(:mod:`~bot.generators.model_server.dialects`), and the tokenizer
(:mod:`~bot.generators.model_server.fitting`). :mod:`~bot.generators.model_server.stragglers` bounds the wait
for a hanging request, :mod:`~bot.generators.model_server.connection` opens the connection, and
:mod:`~bot.generators.model_server.writers` puts several models side by side. Used by
``bot/generators/openai_server.py`` and ``bot/generators/factory.py`` alone.
"""
