"""Files, the terminal, hardware, and what the operating system refuses."""
