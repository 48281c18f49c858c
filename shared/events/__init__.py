"""Wire models: one module a topic, each with examples that go through every reader."""
