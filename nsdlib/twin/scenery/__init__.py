"""The parts of a drawn scene: kinds of things, their drawings, backdrops, layout and wording of captions."""
