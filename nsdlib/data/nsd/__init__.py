"""The Natural Scenes Dataset: its files, what belongs to a subject, and checks that both are what they should be."""
