"""The figures of the gates that need no run: what `maspo figures gates` draws."""

from maspo_jax.reports.figures import gate_curves, gate_maps

FIGURES = (
    gate_curves.maspo,
    gate_curves.dgpo,
    gate_curves.weights,
    gate_curves.relative_weights,
    gate_maps.maspo_maps,
    gate_maps.dac_bounds,
    gate_maps.bapo_search,
    gate_maps.utilization,
)
