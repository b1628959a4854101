"""Find, build and adapt a Hugging Face model."""
