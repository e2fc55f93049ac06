"""Keys of the first version, and what they are called now."""

RENAMED = {
    "compress.points": "compress.variants",
    "compress.served": "compress.serve",
    "data.shop.days": "data.source.days",
    "data.shop.interactions": "data.source.interactions",
    "data.shop.items": "data.source.items",
    "data.shop.users": "data.source.users",
    "encode.more": "encode.extra-vectors",
    "encode.words": "encode.tfidf-width",
    "student.dropout": "student.model.dropout",
    "student.hidden": "student.model.hidden",
    "student.kernels": "student.model.profiles",
    "student.list-length": "student.top-k",
    "student.list-temperature": "student.teacher-temperature",
    "student.list-weight": "student.teacher-weight",
    "student.prior": "student.model.logit-adjustment",
    "student.replaced": "student.corruption-rate",
    "student.rounds": "student.augmented-rounds",
    "student.temperature": "student.model.temperature",
    "student.time": "student.model.time",
    "student.training": "student.model.training",
    "student.width": "student.model.width",
}
"""Old name to new name; a group stands for all keys in it."""

REPLACED = {
    "data.builder": 'write data=Data(source=Tfds("BUILDER")) in the config file',
    "data.source": "write data=Data(source=Files()) or another source in the config file",
    "student.encoder": "write student=Student(model=Transformer()) in the config file",
    "student.heads": "write student=Student(model=Transformer()) in the config file",
    "student.layers": "write student=Student(model=Transformer()) in the config file",
    "student.ranking-weight": "its loss is gone: leave it out",
    "teacher.blocks": "write teacher=Blend(members=(Transformer(block=…), …)) in the config file",
    "teacher.members": "write teacher=Blend(members=(Transformer(), …)) in the config file",
}
"""Old name to what to do instead, where no key has its place."""


def advice(key: str) -> str:
    """What to write in place of a key of the first version; '' for another key.

    Args:
        key: without the two hyphens before it.
    """
    if key in REPLACED:
        return REPLACED[key]
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return f"it is now --{new}{key.removeprefix(old)}"
    return ""
