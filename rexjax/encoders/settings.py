"""The keys of stage encode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rexjax.errors import UserError, check_least


@dataclass(frozen=True)
class Encode:
    """Stage encode: item text to vectors, reduced to a small width."""

    model: str = ""
    """Folder of a BERT-layout model in Hugging Face format; '' is all-MiniLM-L6-v2 from the package rexjax[text]."""
    prefix: str = ""
    """Written before every text; models of the E5 family want 'query: '."""
    vectors: str = ""
    """A .npy file with one row per line of the items file, instead of a model."""
    tfidf_width: int = 0
    """Width of a second view of the text beside the model's: TF-IDF of its words, reduced by truncated SVD, which knows
    a brand or a shade by name; 0: none. It is less where the texts share fewer words."""
    extra_vectors: tuple[str, ...] = ()
    """Further vectors of the items: NAME=FILE.npy each, such as image=clip.npy, one row per line of the items file,
    zeros where an item has none. Reduced like the text, and projected beside it."""
    width: int = 128
    """Width after reduction, of each."""
    reduction: Literal["pca", "whiten", "select", "none"] = "pca"
    """PCA; PCA whitening; the columns of largest variance; none."""

    def __post_init__(self) -> None:
        check_least(self, "encode", 0, "tfidf_width")
        check_least(self, "encode", 1, "width")
        names = ["text", "tfidf", *(named.partition("=")[0] for named in self.extra_vectors)]
        for named in self.extra_vectors:
            if not all(named.partition("=")) or names.count(named.partition("=")[0]) > 1:
                raise UserError(
                    f"--encode.extra-vectors {named}: give each a name of its own and a file, NAME=FILE.npy"
                )

    def extra_files(self) -> dict[str, Path]:
        """``extra_vectors`` by name."""
        return {name: Path(file) for name, _, file in (named.partition("=") for named in self.extra_vectors)}
