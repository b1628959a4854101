"""Files, the terminal, the Hugging Face Hub, hardware, and errors of the operating system."""
