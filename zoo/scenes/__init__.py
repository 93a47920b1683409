"""Drawn scenes of the demo zoo: objects, backgrounds, compositions and captions."""
