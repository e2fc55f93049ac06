"""Writes the generated pages: ``python -m docs.generators``; with ``--check`` it says which pages are out of date."""
