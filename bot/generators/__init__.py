"""Language models that write candidates: transformers, llama.cpp, an OpenAI-compatible server.

Each implements :class:`bot.generation.CandidateGenerator`. May import the leaves of ``bot``.
"""
