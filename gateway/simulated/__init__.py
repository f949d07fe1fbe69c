"""A provider of language models that needs no key: seeded, adjustable, and honest about what it did.

It answers in OpenAI's, Anthropic's and Gemini's shape, fails as it is told to, and keeps a bill of its own. Nothing
here speaks HTTP: `serving.simulated_provider` does.
"""
