"""The Natural Scenes Dataset: its files, subjects, and checks that both are correct."""
