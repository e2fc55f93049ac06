"""Neural collaborative filtering (He et al. 2017): GMF, MLP, and NeuMF, which fuses the two.

All are trained by binary cross-entropy: a positive pair is 1, a pair with an item that the user does not have is 0.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError, check_least, check_positive, check_share
from rexjax.families.base import Model, Run, TrainingData
from rexjax.families.pairs import Counts, RowModel, normal_table, with_popularity
from rexjax.models.pair_networks import ReluLayers, network_scorer, upper_layers
from rexjax.models.scorer import Scorer
from rexjax.models.user_rows import user_row_scorer
from rexjax.training.pairs import PairTraining, Params


@dataclass(frozen=True)
class GMF(RowModel):
    """Generalised matrix factorisation: ``score = sum_d a_d p_ud q_id``, with output weights a. User -1 gets the items'
    popularity."""

    width: int = 64
    """Width of the vectors, D."""
    l2: float = 3e-3
    """Weight of the squared norms of the rows of a pair in its loss."""
    init_std: float = 0.1
    """Deviation of the first vectors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, type(self).__name__, 1, "width")
        check_positive(self, type(self).__name__, "init_std")

    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Normal vectors, and output weights of 1."""
        keys, names = jax.random.split(jax.random.key(seed)), {"users": users, "items": items}
        tables = {
            side: {"factors": normal_table(key, rows, self.width, self.init_std)}
            for key, (side, rows) in zip(keys, names.items(), strict=True)
        }
        return {"tables": tables, "dense": {"output": np.ones(self.width, np.float32)}}

    def score_rows(self, dense: Any, users: dict[str, jax.Array], items: dict[str, jax.Array]) -> jax.Array:
        """``sum_d a_d p_ud q_id``."""
        return (users["factors"] * dense["output"] * items["factors"]).sum(-1)

    def served(self, params: Params, counts: Counts, constants: Any) -> dict[str, np.ndarray]:
        """{"users": [a p_u, 0], float32 [U, D + 1], "items": [q_i, popularity], "unknown": [0, 1]}."""
        users, items = (params["tables"][side]["factors"] for side in ("users", "items"))
        return with_popularity(users * params["dense"]["output"], items, counts)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Dot products."""
        return user_row_scorer(state)


@dataclass(frozen=True)
class MLP(RowModel):
    """A multi-layer perceptron of the concatenated vectors of user and item. User -1 gets the items' popularity.

    ``score = a · relu(W_n … relu(W_1 [p_u; q_i] + b_1) … + b_n)``. The answer to a request computes ``W_1 [p_u; q_i]``
    as a sum of two parts that are known before, one for the user and one for each item.
    """

    width: int = 32
    """Width of each vector."""
    layers: tuple[int, ...] = (32, 16)
    """Widths of the layers."""
    init_std: float = 0.1
    """Deviation of the first vectors."""
    training: PairTraining = field(default_factory=lambda: PairTraining(learning_rate=1e-2))
    """How it is trained. At small step sizes it ranks by popularity for several epochs before it learns more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, type(self).__name__, 1, "width")
        check_positive(self, type(self).__name__, "init_std")
        if not self.layers or min(self.layers) < 1:
            raise UserError(
                f"{type(self).__name__} has layers={self.layers}: set layers to one width or more, each 1 or more"
            )

    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Normal vectors, kernels after LeCun, biases of 0."""
        *keys, of_first, of_layers, of_output = jax.random.split(jax.random.key(seed), 5)
        tables = {
            side: {"embedding": normal_table(key, rows, self.width, self.init_std)}
            for key, (side, rows) in zip(keys, (("users", users), ("items", items)), strict=True)
        }
        kernel = np.asarray(jax.nn.initializers.he_normal()(of_first, (2 * self.width, self.layers[0])))
        upper = self.upper().init(of_layers, jnp.zeros((1, self.layers[0]))).get("params", {})
        dense = {
            "of_user": kernel[: self.width],
            "of_item": kernel[self.width :],
            "bias": np.zeros(self.layers[0], np.float32),
            "layers": jax.tree.map(np.asarray, upper),
            "output": normal_table(of_output, self.layers[-1], 1, self.layers[-1] ** -0.5)[:, 0],
        }
        return {"tables": tables, "dense": dense}

    def upper(self) -> ReluLayers:
        """The layers above the first."""
        return ReluLayers(self.layers[1:])

    def score_rows(self, dense: Any, users: dict[str, jax.Array], items: dict[str, jax.Array]) -> jax.Array:
        """The network's output."""
        first = users["embedding"] @ dense["of_user"] + items["embedding"] @ dense["of_item"] + dense["bias"]
        return upper_layers(self.upper(), dense["layers"], dense["output"], first)

    def served(self, params: Params, counts: Counts, constants: Any) -> dict[str, Any]:
        """See ``rexjax.models.pair_networks.network_scorer``; factors are 0 wide."""
        tables, dense = params["tables"], params["dense"]
        users = tables["users"]["embedding"] @ dense["of_user"]
        items = tables["items"]["embedding"] @ dense["of_item"] + dense["bias"]
        return {
            "users": {"factors": np.zeros((len(users), 0), np.float32), "hidden": users, "known": counts.trained},
            "items": {"factors": np.zeros((len(items), 0), np.float32), "hidden": items},
            "layers": dense["layers"],
            "output": dense["output"],
            "popularity": counts.popularity,
        }

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """The network's output."""
        return network_scorer(state, self.layers[1:])

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """One layer alone has no parameters above it, which a stored tree leaves out."""
        return {"layers": {}} | tree


@dataclass(frozen=True)
class NeuMF(RowModel):
    """Neural matrix factorisation: the sum of a ``GMF`` and an ``MLP`` with vectors of their own, trained together.

    With ``pretrained`` the two are trained alone first. Their output weights then begin as ``alpha`` and ``1 - alpha``
    times what they were, and training goes on by Adam, whose moments begin anew (the paper goes on by plain gradient
    steps). User -1 gets the items' popularity.
    """

    gmf: GMF = field(default_factory=GMF)
    """The factorisation, and how it is trained alone."""
    mlp: MLP = field(default_factory=MLP)
    """The network, and how it is trained alone."""
    pretrained: bool = False
    """Both are trained alone first. Then ``training.learning_rate`` is to be lower, such as 3e-4."""
    alpha: float = 0.5
    """Share of the factorisation at the start, where both are pre-trained."""
    l2: float = 1e-3
    """Weight of the squared norms of the rows of a pair in its loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "NeuMF", "alpha")

    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Those of both."""
        return _fused(self.gmf.first_params(users, items, seed), self.mlp.first_params(users, items, seed))

    def trained(self, data: TrainingData, run: Run, start: Params | None = None) -> Params:
        """Parameters on the host; the parts are trained alone before, unless they are not to be."""
        if start is None and self.pretrained:
            parts = {"gmf": self.gmf, "mlp": self.mlp}
            gmf, mlp = (
                part.trained(data, replace(run, name=f"{run.name} {name}", key=f"{run.key}.{name}"))
                for name, part in parts.items()
            )
            start = _fused(_weighted(gmf, self.alpha), _weighted(mlp, 1 - self.alpha))
        return super().trained(data, run, start)

    def score_rows(self, dense: Any, users: dict[str, jax.Array], items: dict[str, jax.Array]) -> jax.Array:
        """The sum of both scores."""
        return self.gmf.score_rows(dense["gmf"], users, items) + self.mlp.score_rows(dense["mlp"], users, items)

    def served(self, params: Params, counts: Counts, constants: Any) -> dict[str, Any]:
        """See ``rexjax.models.pair_networks.network_scorer``."""
        tables, dense = params["tables"], params["dense"]
        state = self.mlp.served({"tables": tables, "dense": dense["mlp"]}, counts, constants)
        state["users"]["factors"] = tables["users"]["factors"] * dense["gmf"]["output"]
        state["items"]["factors"] = tables["items"]["factors"]
        return state

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """The sum of both scores."""
        return self.mlp.scorer(state)

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """As of an ``MLP``."""
        return self.mlp.state_from(tree)

    def variations(self) -> dict[str, Model]:
        """Its own, and those of its parts."""
        found = {name: model for name, model in super().variations().items() if not name.endswith(" alpha")}
        for part in ("gmf", "mlp"):
            for name, changed in getattr(self, part).variations().items():
                found[f"{part}: {name}"] = replace(self, **{part: changed})
        return found


def _fused(gmf: Params, mlp: Params) -> Params:
    """Tables side by side, by the names of their arrays."""
    tables = {side: gmf["tables"][side] | mlp["tables"][side] for side in ("users", "items")}
    return {"tables": tables, "dense": {"gmf": gmf["dense"], "mlp": mlp["dense"]}}


def _weighted(params: Params, weight: float) -> Params:
    """With the output weights times ``weight``."""
    output = params["dense"]["output"] * np.float32(weight)
    return params | {"dense": params["dense"] | {"output": output}}
