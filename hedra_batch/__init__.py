"""hedra_batch runs a manifest of prompts and images through Hedra's paid generation API, and pays once."""

__version__ = "0.1.0"
