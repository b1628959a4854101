"""Side-by-side measurements; nothing here is imported by ``glue_lit``."""
