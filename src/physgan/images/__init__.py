"""Between picture files and tensors."""
