"""How good a reconstruction is: formulas of similarity, feature extractors, protocols, and the eight scores made of them."""
