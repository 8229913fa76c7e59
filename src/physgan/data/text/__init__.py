"""Pages of text, drawn without end from a seed: words, typefaces, layout."""
