"""RecBole's SASRec, in RecBole's own environment: ``python recbole_peer.py FOLDER LENGTH EPOCHS``, called by recbole.

FOLDER holds log/log.inter. Prints one JSON line: seconds and validation NDCG@10 after each epoch, and users ranked a
second.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Trains and ranks."""
    folder, length, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    settings = {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": length,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "hidden_size": 64,
        "inner_size": 256,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dropout_prob": 0.5,
        "attn_dropout_prob": 0.5,
        "learning_rate": 1e-3,
        "train_batch_size": 2048,
        "eval_batch_size": 4096,
        "epochs": epochs,
        "stopping_step": epochs,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "metrics": ["NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "use_gpu": False,
        "gpu_id": "",
        "seed": 0,
        "checkpoint_dir": str(folder / "saved"),
        "state": "ERROR",
        "show_progress": False,
    }
    sys.argv = sys.argv[:1]
    config = Config(model="SASRec", dataset="log", config_dict=settings)
    init_seed(0, True)
    data = create_dataset(config)
    training, validation, _ = data_preparation(config, data)
    model = get_model("SASRec")(config, training.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    curve, started = [], time.perf_counter()

    def note(epoch: int, score: float) -> None:
        curve.append((time.perf_counter() - started, score))
        print(f"RecBole, epoch {epoch + 1}: {curve[-1][0]:.0f} s, NDCG@10 {score:.4f}", file=sys.stderr, flush=True)

    trainer.fit(training, validation, saved=False, show_progress=False, callback_fn=note)
    users, began = data.user_num - 1, time.perf_counter()
    trainer.evaluate(validation, load_best_model=False, show_progress=False)
    print(json.dumps({"curve": curve, "users_per_second": users / (time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
