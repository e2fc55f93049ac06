"""The slow twins: every public fast path once more, as plainly as its definition reads, in NumPy and loops.

A twin shares no code with its fast path. ``tests/test_twins.py`` runs each pair and lists fast paths without a twin.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.reference import (
    compression,
    data,
    embedding,
    evaluation,
    families,
    features,
    losses,
    models,
    ranking,
    rerank,
    retrieval,
    serving,
    training,
)

FUSED = ("Summed", "GatedMixture", "ConcatenatedLayers", "AttendedMixture")

TWINS: dict[str, Callable[..., Any]] = {
    # serving
    "rexjax.serving.delta_arrays:changed_rows": serving.changed_rows,
    # retrieval
    "rexjax.retrieval.topk:top_k": retrieval.top_k,
    "rexjax.retrieval.sharded:top_k": retrieval.top_k,
    "rexjax.retrieval.topk_tpu:block_maxima": retrieval.block_maxima,
    "rexjax.retrieval.topk_tpu:score_blocks": retrieval.score_blocks,
    "rexjax.retrieval.topk_cpu:block_maxima": retrieval.block_maxima,
    "rexjax.embedding.row_access:take": embedding.rows_of,
    "rexjax.embedding.row_access:put": embedding.with_rows,
    "rexjax.embedding.rows:take": retrieval.take,
    "rexjax.embedding.rows:score": retrieval.score,
    "rexjax.embedding.rows:score_by_row": retrieval.score_by_row,
    # rerank
    "rexjax.rerank.similar:mmr": rerank.mmr,
    "rexjax.rerank.similar:dpp": rerank.dpp,
    "rexjax.rerank.shares:xquad": rerank.xquad,
    "rexjax.rerank.shares:calibrated": rerank.calibrated,
    "rexjax.rerank.shares:divergence": rerank.divergence,
    "rexjax.rerank.limits:quota": rerank.quota,
    "rexjax.rerank.limits:capped": rerank.capped,
    "rexjax.models.text_map:fit_map": retrieval.fit_map,
    "rexjax.models.text_map:predict": retrieval.predict,
    # losses
    "rexjax.losses.sampled:softmax_cross_entropy": losses.softmax_cross_entropy,
    "rexjax.losses.sampled:soft_cross_entropy": losses.soft_cross_entropy,
    "rexjax.losses.sampled:sampled_softmax": losses.sampled_softmax,
    "rexjax.losses.sampled:gbce": partial(losses.over_samples, "gbce"),
    "rexjax.losses.sampled:bpr": partial(losses.over_samples, "bpr"),
    **{f"rexjax.losses.listwise:{kind}": partial(losses.over_lists, kind) for kind in losses.LISTS},
    "rexjax.losses.sharded_softmax:cross_entropy": losses.whole_cross_entropy,
    # embedding
    "rexjax.embedding.exchange:dedupe": embedding.distinct,
    "rexjax.embedding.table:gather": embedding.rows_of,
    "rexjax.embedding.table:look_up": embedding.rows_of,
    "rexjax.embedding.table:update": embedding.summed_gradients,
    "rexjax.embedding.features:vectors": embedding.feature_vectors,
    "rexjax.embedding.bags:combine": embedding.combine,
    "rexjax.embedding.optimizers:Sgd": partial(embedding.dense_step, "sgd"),
    "rexjax.embedding.optimizers:Adagrad": partial(embedding.dense_step, "adagrad"),
    "rexjax.embedding.optimizers:RowWiseAdagrad": partial(embedding.dense_step, "row_wise_adagrad"),
    "rexjax.embedding.optimizers:LazyAdam": partial(embedding.dense_step, "lazy_adam"),
    "rexjax.embedding.optimizers:ExactAdam": partial(embedding.dense_step, "exact_adam"),
    "rexjax.embedding.ftrl:ftrl_step": ranking.ftrl,
    "rexjax.embedding.ftrl:Ftrl": ranking.ftrl,
    "rexjax.embedding.order:to_physical": embedding.to_physical,
    "rexjax.embedding.order:to_logical": embedding.to_logical,
    "rexjax.embedding.rounding:stochastic_bfloat16": embedding.bfloat16_neighbours,
    # evaluation
    "rexjax.evaluation.ranking:count_ranks": evaluation.count_ranks,
    "rexjax.evaluation.ranking:evaluate": evaluation.evaluate,
    "rexjax.evaluation.ranking:padded": evaluation.padded,
    "rexjax.evaluation.metrics:per_user": evaluation.metrics_of_ties,
    "rexjax.evaluation.propensity:snips": evaluation.snips,
    "rexjax.evaluation.confidence:expected_calibration_error": evaluation.calibration_error,
    "rexjax.evaluation.confidence:first_items": evaluation.first_items,
    "rexjax.evaluation.exposure:serendipity": evaluation.serendipity,
    "rexjax.evaluation.requests:build": evaluation.requests,
    "rexjax.evaluation.requests:by_target": evaluation.target_requests,
    "rexjax.evaluation.requests:target_events": evaluation.target_events,
    "rexjax.evaluation.significance:bootstrap_mean": evaluation.resampled_means,
    "rexjax.evaluation.significance:paired_bootstrap": evaluation.resampled_means,
    # compression
    "rexjax.embedding.quantized:quantize_rows": compression.quantize_rows,
    "rexjax.embedding.quantized:straight_through": compression.rounded,
    "rexjax.embedding.quantized:numbers": compression.unpack,
    "rexjax.embedding.quantized:dequantize": compression.dequantize,
    "rexjax.embedding.product:decode": compression.decode,
    "rexjax.embedding.product:nearest_codes": compression.nearest_codes,
    "rexjax.embedding.product:weighted_centroids": compression.weighted_centroids,
    "rexjax.embedding.product:fit_books": compression.improved_books,
    "rexjax.compression.prune:magnitude_prune": compression.magnitude_prune,
    # training
    "rexjax.training.multi_step:make_run": training.one_by_one,
    "rexjax.training.catalogue:draw_popular": training.share_of_each,
    "rexjax.training.negatives:draw_unowned": training.items_without,
    "rexjax.training.ftrl_rule:ftrl": ranking.ftrl,
    "rexjax.training.label_metrics:auc": ranking.auc,
    # data
    "rexjax.data.batches:pack": data.prefix_label_pairs,
    "rexjax.data.batches:latest": data.latest,
    "rexjax.data.batches:latest_times": data.latest_times,
    "rexjax.data.batches:next_time": data.next_time,
    "rexjax.data.interactions:clean": data.k_core,
    "rexjax.data.quantiles:at_shares": np.quantile,
    "rexjax.data.features.as_of:join": features.as_of,
    "rexjax.data.splits:leave_one_out": data.leave_one_out,
    "rexjax.data.splits:global_time": data.global_time,
    "rexjax.data.splits:last_session": data.last_session,
    "rexjax.data.splits:last_validates": data.last_validates,
    "rexjax.data.splits:without_cold": data.without_cold,
    # models
    "rexjax.models.layers:attend_causally": models.attend,
    "rexjax.models.layers:Attention": models.multi_head_attention,
    "rexjax.models.layers:causal_mask": models.causal_mask,
    "rexjax.models.recurrent:RecurrentBlock": models.recurrent_block,
    "rexjax.models.pooled:PooledEncoder": models.pooled_user,
    "rexjax.models.towers:ItemTower": models.item_tower,
    "rexjax.models.towers:UserTower": models.user_tower,
    **{f"rexjax.models.fusion:{kind}": partial(models.fused, kind=kind) for kind in FUSED},
    "rexjax.models.pooled:contributions": models.contributions,
    "rexjax.models.rating_towers:tower": models.rating_tower,
    "rexjax.models.interactions:pairwise_sum": ranking.pairwise_sum,
    "rexjax.models.interactions:dot_products": ranking.dot_products,
    "rexjax.models.interactions:CrossLayers": ranking.cross_layers,
    "rexjax.models.fields:combine_slots": ranking.bags,
    "rexjax.models.calibration:fit_temperature": ranking.best_temperature,
    "rexjax.models.calibration:fit_isotonic": ranking.isotonic,
    "rexjax.models.candidates:place_ranked": ranking.order_of_two_stages,
    # families
    "rexjax.families.inverse_update:updater": families.inverse_after_change,
}
"""Fast path, as module:name, to its twin."""
