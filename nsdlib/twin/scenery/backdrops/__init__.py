"""Backgrounds of the drawn scenes, painted on a canvas by family: nature, water, settled places, rooms and skies."""
