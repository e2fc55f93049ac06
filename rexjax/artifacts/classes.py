"""Classes that a config file may choose, or define."""


class Open:
    """Base of frozen dataclasses whose subclasses a config file may name as the value of a key."""
