"""Item text to vectors by a pretrained language model, then reduced to a small width."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.encoders import reduce as _reduce
    from rexjax.encoders.bert import Bert as Bert
    from rexjax.encoders.bert import BertConfig as BertConfig
    from rexjax.encoders.bert import pool as pool
    from rexjax.encoders.loading import TextModel as TextModel
    from rexjax.encoders.loading import default_model_folder as default_model_folder
    from rexjax.encoders.loading import load_model as load_model
    from rexjax.encoders.reduce import Reduction as Reduction
    from rexjax.encoders.text import encode_texts as encode_texts
    from rexjax.encoders.tfidf import encode_words as encode_words

    apply_reduction = _reduce.apply
    fit_reduction = _reduce.fit
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Bert": "rexjax.encoders.bert",
            "BertConfig": "rexjax.encoders.bert",
            "Reduction": "rexjax.encoders.reduce",
            "TextModel": "rexjax.encoders.loading",
            "apply_reduction": "rexjax.encoders.reduce:apply",
            "default_model_folder": "rexjax.encoders.loading",
            "encode_texts": "rexjax.encoders.text",
            "encode_words": "rexjax.encoders.tfidf",
            "fit_reduction": "rexjax.encoders.reduce:fit",
            "load_model": "rexjax.encoders.loading",
            "pool": "rexjax.encoders.bert",
        },
    )
